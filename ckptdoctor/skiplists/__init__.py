"""The dialects of skip lists, how their entries match names, and expressions that cannot run away."""
