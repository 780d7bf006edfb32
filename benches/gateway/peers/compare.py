"""Compares what `upstream.py` wrote with the leads that the three bodies hold.

Arguments: the file and the e-mail address of each lead in turn.
"""

import json
import sys

MESSAGE = 'Hi & hello: 50% off? I\'d like a quote for 3 rooms + the roof.{}Thanks, Zoë — "asap"'
# A browser sends the line breaks of multipart forms as CR LF.
BREAKS = ["\n", "\n", "\r\n"]


def expected(number, email):
    return {
        "path": "/api/v1/wordpress/intake",
        "type": "application/json",
        "authorization": "Bearer wp_pk_bench:wp_sk_bench",
        "lead": {
            "name": "Zoë O'Brien-Łuk",
            "email": email,
            "phone": "+1 (555) 010-9999",
            "message": MESSAGE.format(BREAKS[number % 3]),
        },
    }


with open(sys.argv[1]) as file:
    seen = [json.loads(line) for line in file]
connections = {one.pop("connection") for one in seen}
bad = []
for number, email in enumerate(sys.argv[2:]):
    want = expected(number, email)
    got = seen[number] if number < len(seen) else None
    if got is None:
        bad.append(f"lead {number + 1} did not arrive")
        continue
    for key in want:
        if got[key] != want[key]:
            bad.append(f"lead {number + 1}: {key} is {got[key]!r}, not {want[key]!r}")
if len(seen) > len(sys.argv) - 2:
    bad.append(f"{len(seen)} leads arrived, {len(sys.argv) - 2} were posted")
if bad:
    sys.exit("; ".join(bad))
print(f"{len(seen)} leads over {len(connections)} connection(s)")
