"""The table (Markdown) and the picture (SVG) of a run."""
from rows import OURS, REFERENCE

OTHERS = ("nginx", "docker-registry", REFERENCE)
WIDTH, LABEL, BAR, LINE = 980, 420, 440, 22
COLOURS = {"nginx": "#3b7dd8", "docker-registry": "#d8863b", REFERENCE: "#7a7a7a"}


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows):
    heads = ["what", OURS, *OTHERS, *(f"x {o}" for o in OTHERS), "wanted", "reached"]
    cells = [heads]
    for row in rows:
        ratios = ["-" if row.ratio(o) is None else f"{row.ratio(o):.2f}" for o in OTHERS]
        cells.append([f"{row.name}, {row.unit}", number(row.median(OURS)), *(number(row.median(o)) for o in OTHERS),
                      *ratios, "; ".join(text for text, _ in row.wanted),
                      ("yes" if row.reached() else "no") if row.wanted else "-"])
    widths = [max(len(r[i]) for r in cells) for i in range(len(heads))]
    lines = []
    for i, line in enumerate(cells):
        lines.append("| " + " | ".join(c.rjust(w) if 0 < n < len(heads) - 2 else c.ljust(w)
                                       for n, (c, w) in enumerate(zip(line, widths))) + " |")
        if i == 0:
            lines.append("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def position(ratio):
    """Logarithmic: 1/8 at the left edge, 512 at the right."""
    steps = 12
    at = 0
    while ratio < 1 and at > -3:
        ratio, at = ratio * 2, at - 1
    while ratio >= 2 and at < 9:
        ratio, at = ratio / 2, at + 1
    return (at + min(ratio, 2) - 1 + 3) / steps * BAR


def picture(rows):
    """One bar a comparison: how many times as fast as the other."""
    bars = [(row, other) for row in rows for other in OTHERS if row.ratio(other) is not None]
    height = LINE * (len(bars) + 3)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="10" y="{LINE - 6}" font-weight="bold">entrepot compared: times the rate of (logarithmic)</text>']
    for i, other in enumerate(OTHERS):
        out.append(f'<rect x="{LABEL + 150 * i}" y="{LINE - 17}" width="12" height="12" fill="{COLOURS[other]}"/>'
                   f'<text x="{LABEL + 150 * i + 17}" y="{LINE - 6}">{other}</text>')
    for mark in (0.125, 0.5, 1, 2, 8, 32, 128):
        x = LABEL + position(mark)
        out.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{LINE * 2 - 8}" y2="{height - LINE}" stroke="{"#000" if mark == 1 else "#ccc"}"/>'
                   f'<text x="{x:.0f}" y="{LINE * 2 - 12}" text-anchor="middle" fill="#555">{mark:g}</text>')
    last = None
    for i, (row, other) in enumerate(bars):
        y = LINE * (i + 2)
        if row is not last:
            out.append(f'<text x="10" y="{y + 13}">{escape(row.name)}</text>')
            last = row
        one, end = position(1), position(row.ratio(other))
        left, width = min(one, end), max(abs(end - one), 1)
        out.append(f'<rect x="{LABEL + left:.1f}" y="{y + 2}" width="{width:.1f}" height="{LINE - 7}" fill="{COLOURS[other]}"/>'
                   f'<text x="{LABEL + max(one, end) + 6:.0f}" y="{y + 14}">{row.ratio(other):.2f}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
