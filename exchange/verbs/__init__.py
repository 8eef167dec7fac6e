"""What parties can do. Each verb runs inside one transaction: it checks, changes, and records what it did."""
