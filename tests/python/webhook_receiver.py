"""A receiver of webhooks as others write one: signatures by the library standardwebhooks, bodies by jsonschema.

    webhook_receiver.py SCHEMA NAME=SECRET...

A post to /NAME is verified with that secret. The first line on stdout is the port; each further one is JSON and says of a
post what was found and what came. The answer is 204, 401 where the signature doesn't fit, 422 where the body doesn't.
It ends with its stdin.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jsonschema import Draft202012Validator
from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="utf-8") as file:
    SCHEMA = json.load(file)
Draft202012Validator.check_schema(SCHEMA)
SECRETS = dict(argument.split("=", 1) for argument in sys.argv[2:])


def refusal(name, body, headers):
    """Returns why the signature doesn't fit, or None."""
    try:
        Webhook(SECRETS[name]).verify(body, headers)
    except WebhookVerificationError as error:
        return str(error)
    return None


def mistakes(body):
    """Returns what the schema doesn't allow. The alternatives are told apart by type, so that the answer is readable."""
    event = json.loads(body)
    definition = SCHEMA["$defs"].get(event.get("type"))
    if definition is None:
        return [f"no such type: {event.get('type')}"]
    whole = Draft202012Validator(SCHEMA)
    one = Draft202012Validator({**definition, "$defs": SCHEMA["$defs"]})
    found = [f"{error.json_path}: {error.message}" for error in one.iter_errors(event)]
    return found if found or whole.is_valid(event) else ["it is not exactly one of the events"]


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        refused = refusal(self.path.lstrip("/"), body, headers)
        wrong = mistakes(body)
        said = {"refused": refused, "mistakes": wrong, "headers": headers, "body": body.decode()}
        print(json.dumps(said), flush=True)
        self.send_response(401 if refused else 422 if wrong else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
server.daemon_threads = True
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
