#!/usr/bin/env bash
# check → upload → check again:  upload.sh ./Llama-3.1-8B-bnb-4bit org/Llama-3.1-8B-bnb-4bit
set -euo pipefail
model=$1 repo=$2

ckptdoctor check "$model"
hf upload "$repo" "$model" .

# What arrived: every JSON file and no weights, under the name people will download it by.
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
hf download "$repo" --include '*.json' --local-dir "$again/${repo#*/}"
ckptdoctor check --metadata-only "$again/${repo#*/}"
