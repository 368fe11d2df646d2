"""What loaders make of formats beside bitsandbytes: which parts they ask for, and what a lack costs."""
