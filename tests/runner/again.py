"""A failed test once more, alone: what passes then failed by chance, which is told and is a defect of its own."""

# Chance takes few. When more fail something is broken, and running all of them twice would only take longer.
MOST = 25


def once_more(count):
    """Moves what passes this time from count.failed to count.flaky; it counts as passed."""
    tried = [f for f in count.failed if f.again]
    if len(tried) > MOST:
        print(f"=== {len(tried)} tests failed: too many for chance, none of them runs once more")
        return
    passed = {}
    for failure in tried:
        # Several tests of one program fail and pass with it.
        if failure.again not in passed:
            print(f"=== once more, alone: {failure.name}")
            passed[failure.again] = failure.again()
            print(f"=== {'passed' if passed[failure.again] else 'failed again'}: {failure.name}")
        if passed[failure.again]:
            count.failed.remove(failure)
            count.flaky.append(failure.name)
            count.passed += 1
