"""The upstream of `check`: takes leads, writes each to the file named by the second argument.

One line of JSON a request. A lead for refuse@example.com gets a 500.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Intake(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes: the second would wait for the peer's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            lead = json.loads(body)
        except ValueError:
            lead = repr(body)
        seen = {
            "path": self.path,
            "type": self.headers["Content-Type"],
            "authorization": self.headers["Authorization"],
            "lead": lead,
            "connection": self.client_address[1],
        }
        with open(sys.argv[2], "a") as file:
            print(json.dumps(seen), file=file)
        refused = isinstance(lead, dict) and lead.get("email") == "refuse@example.com"
        answer = b'{"success":true}'
        self.send_response(500 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Intake).serve_forever()
