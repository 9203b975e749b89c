import csv
from pathlib import Path


def read() -> list[dict]:
    with open("data/cities.csv") as file:
        return list(csv.DictReader(file))


HERE = Path(__file__).parent.parent
NOTE = (HERE / "note.txt").read_text().strip()
