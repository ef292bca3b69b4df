"""``python -m edgekube`` and the ``edgekube`` command."""

from edgekube.cli.main import main

if __name__ == "__main__":
    main()
