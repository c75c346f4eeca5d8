"""`make bench`: runs every bench_*.py beside this file and prints one JSON line for each figure."""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    worst = 0
    for bench in sorted(Path(__file__).parent.glob("bench_*.py")):
        worst = max(worst, subprocess.run([sys.executable, str(bench)], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
