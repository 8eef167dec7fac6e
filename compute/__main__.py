"""`python -m compute`: see `compute.command`."""

# The engine's workers import this file too, and need nothing of it.
if __name__ == "__main__":
    from compute.command import main

    main()
