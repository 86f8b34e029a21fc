"""Contestants measured by turns, so that a machine that slows down slows down for all; medians, spread and ratios."""
import json
import statistics


def measure(contestants, rounds, unit):
    """contestants: {name: function returning a rate}, the first being minibert. Prints a JSON line a measurement, then a table."""
    rates = {name: [] for name in contestants}
    for turn in range(rounds):
        for name, run in contestants.items():
            rates[name].append(run())
            print(json.dumps({"round": turn, "name": name, unit: round(rates[name][-1], 1)}), flush=True)
    ours = statistics.median(next(iter(rates.values())))
    print(f"\n{'':44}{'median ' + unit:>22}{'min':>10}{'max':>10}{'minibert is':>13}")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:44}{median:22.0f}{min(values):10.0f}{max(values):10.0f}{ours / median:12.2f}x")
