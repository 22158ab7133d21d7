"""`python -m vaecli` is `vae`."""

from vaecli.cli import main

if __name__ == "__main__":
    main()
