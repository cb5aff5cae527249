"""What the command line's tests share."""

from __future__ import annotations

import pytest

from coyo_tools.cli import main


@pytest.fixture
def coyo(capsys):
    """Run the command line in this process: exit status, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
