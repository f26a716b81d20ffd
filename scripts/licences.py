"""Print the licence of every package that the project needs, and the extras that need it: `make licences`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name
from requirements import PLAIN, closure, declared

TITLES = ("name", "version", "needed for", "licence")
UNKNOWN = "UNKNOWN"


def main() -> None:
    """Print the table, and below it the packages under the GPL or the LGPL."""
    needed_for: dict[str, list[str]] = {}
    for extra, texts in declared().items():
        try:
            found = closure(texts)
        except LookupError as error:
            print(f"licences: those of {extra} are left out: {error}", file=sys.stderr)
            continue
        for name in found:
            needed_for.setdefault(name, []).append(extra)
    rows = sorted((row for row in installed() if row["name"] in needed_for), key=lambda row: row["name"])
    for row in rows:
        extras = [extra for extra in needed_for[row["name"]] if extra != "all"]
        row["needed for"] = PLAIN if PLAIN in extras else ", ".join(extras)
    table = [dict(zip(TITLES, TITLES, strict=True)), *rows]
    widths = [max(len(row[title]) for row in table) for title in TITLES]
    for row in table:
        print("  ".join(row[title].ljust(width) for title, width in zip(TITLES, widths, strict=True)).rstrip())
    print(
        "\nUnder the GPL or the LGPL, some as one of several licences. Each package is optional and comes with the named extras."
    )
    for row in rows:
        if "GPL" in row["licence"]:
            print(f"  {row['name']} ({row['needed for']}): {row['licence']}")


def installed() -> list[dict[str, str]]:
    """Return name, version and licence of each installed package, or the beginning of its licence text."""
    command = [Path(sys.executable).parent / "pip-licenses", "--from=mixed", "--format=json", "--with-system"]
    command += ["--with-license-file", "--no-license-path"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        {"name": canonicalize_name(row["Name"]), "version": row["Version"], "licence": licence(row)}
        for row in json.loads(done.stdout)
    ]


def licence(row: dict[str, str]) -> str:
    """Return the licence of one package, from the output of pip-licenses, on one line."""
    named, text = (" ".join(row[key].split()) for key in ("License", "LicenseText"))
    return f"its text begins: {text[:90]}" if named == UNKNOWN and text != UNKNOWN else named


if __name__ == "__main__":
    main()
