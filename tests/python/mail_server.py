"""A mail server for the tests. It tells of what happens in lines of JSON: first {"port": N}, then one for each mail it took.

Headers, parts and tags are read by Python's own library, so a mail is judged by another program than the one that wrote it.
"""

import argparse
import asyncio
import email
import email.policy
import html.parser
import json
import logging
import ssl
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def tell(what):
    print(json.dumps(what), flush=True)


class Shown(html.parser.HTMLParser):
    """What of a page is markup, and what is text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.silent = set(), set(), [], False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.silent = tag == "title"
        if tag == "br":
            self.text.append("\n")

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, data):
        if not self.silent:
            self.text.append(data)

    def told(self):
        return {"tags": sorted(self.tags), "attributes": sorted(self.attributes), "text": "".join(self.text)}


def part_of(part):
    told = {"type": part.get_content_type(), "charset": part.get_content_charset(), "text": part.get_content()}
    told["defects"] = [type(defect).__name__ for defect in part.defects]
    if told["type"] == "text/html":
        shown = Shown()
        shown.feed(told["text"])
        shown.close()
        told["shown"] = shown.told()
    return told


class Mailbox:
    def __init__(self, options):
        self.options = options

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        # As real servers do, the answers quote the address.
        if address == self.options.refuse:
            return f"550 5.1.1 <{address}>: no such user"
        if address == self.options.defer:
            return f"451 4.3.0 <{address}>: try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.options.stall:
            tell({"stalled": True})
            await asyncio.Event().wait()
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        tell(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "tls": session.ssl is not None or self.options.tls == "implicit",
                "user": session.auth_data.decode() if session.auth_data else None,
                "type": mail.get_content_type(),
                "headers": [[name, str(value)] for name, value in mail.items()],
                "defects": [type(defect).__name__ for defect in mail.defects],
                "parts": [part_of(part) for part in mail.iter_parts()],
                "longest_line": max(len(line) for line in envelope.content.splitlines()),
                "is_ascii": envelope.content.isascii(),
            }
        )
        return "250 OK"


def login_of(expected):
    def check(server, session, envelope, mechanism, data):
        if isinstance(data, LoginPassword) and b":".join([data.login, data.password]).decode() == expected:
            return AuthResult(success=True, auth_data=data.login)
        return AuthResult(success=False, handled=False)

    return check


async def main(options):
    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.cert, options.key)
    is_starttls = options.tls == "starttls"

    def protocol():
        return SMTP(
            Mailbox(options),
            hostname="mail.test",
            tls_context=context if is_starttls else None,
            require_starttls=is_starttls,
            authenticator=login_of(options.login) if options.login else None,
            auth_required=options.login is not None,
            # Over implicit TLS this library would say that there is no TLS.
            auth_require_tls=is_starttls,
            auth_exclude_mechanism=options.without,
        )

    listener = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=context if options.tls == "implicit" else None
    )
    tell({"port": listener.sockets[0].getsockname()[1]})
    await listener.serve_forever()


if __name__ == "__main__":
    # That it takes passwords in the clear is what some tests are about.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--login", help="USER:PASSWORD, without which nothing is taken")
    parser.add_argument("--without", action="append", default=[], help="a way to log in that isn't offered")
    parser.add_argument("--refuse", help="an address that is unknown")
    parser.add_argument("--defer", help="an address that is busy")
    parser.add_argument("--stall", action="store_true", help="never answers a mail")
    asyncio.run(main(parser.parse_args()))
