"""`python -m coyo_tools` is `coyo`."""

from coyo_tools.cli import main

if __name__ == "__main__":
    main()
