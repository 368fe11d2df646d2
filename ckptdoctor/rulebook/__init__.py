"""Rule files on disk: read, validated, compiled. For builds, development and custom rules; no run imports it."""
