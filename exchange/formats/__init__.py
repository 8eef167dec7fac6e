"""The bytes that parties sign and the ledger keeps: written once, read strictly, bounded."""
