"""The report as one page: parts in an order, each made by one file of `parts/`."""
