"""Projections of the ledger into tracking servers, one file each; nothing reads them back."""
