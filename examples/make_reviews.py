"""Write reviews.csv, new-reviews.csv and test.csv: made-up reviews, some of them hard to tell.

python examples/make_reviews.py
"""

import csv
import random

WORDS = {
    "good": ["lovely", "bright", "charming", "gripping", "funny", "tender", "wise", "fresh"],
    "bad": ["dull", "flat", "tedious", "clumsy", "loud", "empty", "stale", "cold"],
}
THINGS = ["plot", "cast", "music", "dialogue", "ending", "pace", "camera", "story", "start"]


def review(random_: random.Random, sentiment: str) -> str:
    """Return three remarks, each of which may be of the other kind."""
    other = "bad" if sentiment == "good" else "good"
    remarks = [
        f"the {thing} was {random_.choice(WORDS[other if random_.random() < 0.2 else sentiment])}"
        for thing in random_.sample(THINGS, 3)
    ]
    return f"For me {remarks[0]}, {remarks[1]}, and {remarks[2]}."


def main() -> None:
    """Write the three files."""
    random_ = random.Random(0)
    for name, count, columns in (
        ("reviews.csv", 600, ["id", "review", "sentiment"]),
        ("test.csv", 200, ["id", "review", "sentiment"]),
        ("new-reviews.csv", 100, ["id", "review"]),
    ):
        with open(name, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(columns)
            for number in range(count):
                sentiment = random_.choice(["good", "bad"])
                table.writerow([number, review(random_, sentiment), sentiment][: len(columns)])


if __name__ == "__main__":
    main()
