"""Checks a folder of HTML pages as a website: check_site.py FOLDER.

Every link within the site leads to a file, every #anchor is on its page, and nothing is loaded from elsewhere. Links to other sites are
counted, never asked for. Names each fault and exits with 1 if there is one.
"""

import posixpath
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself while it shows a page.
LOADED = {"script", "img", "link", "iframe", "source", "video", "audio", "embed", "object"}


class Page(HTMLParser):
    """Collects what a page links to, what it loads, and which anchors it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in ("href", "src", "data", "poster") and value is not None:
                (self.loads if tag in LOADED else self.links).append(value)


def from_css(text):
    return re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", text)


def from_markdown(text):
    return re.findall(r"\]\(([^)\s]+)\)", text)


class Site:
    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.files = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
        self.pages = {name: Page(self.read(name)) for name in sorted(self.files) if name.endswith(".html")}
        self.faults, self.inside, self.outside = [], 0, 0

    def read(self, name):
        return (self.folder / name).read_text(encoding="utf-8")

    def check(self):
        for name, page in self.pages.items():
            for url in page.links:
                self.follow(name, url)
            for url in page.loads:
                self.load(name, url)
        for name in sorted(self.files):
            if name.endswith(".css"):
                for url in from_css(self.read(name)):
                    self.load(name, url)
            elif name.endswith("llms.txt"):
                for url in from_markdown(self.read(name)):
                    self.follow(name, url)

    def load(self, name, url):
        parts = urlsplit(url)
        if parts.scheme != "data" and (parts.scheme or parts.netloc):
            self.faults.append(f"{name}: loads {url} from elsewhere")
        else:
            self.follow(name, url)

    def follow(self, name, url):
        parts = urlsplit(url)
        if parts.scheme or parts.netloc:
            self.outside += parts.scheme in ("http", "https")
            return
        self.inside += 1
        path = unquote(parts.path)
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
        if path.startswith("/"):
            self.faults.append(f"{name}: {url} works only at the root of a host")
        elif target not in self.files:
            self.faults.append(f"{name}: {url} leads nowhere")
        elif target in self.pages and unquote(parts.fragment) not in self.pages[target].anchors:
            self.faults.append(f"{name}: {url}: {target} has no such anchor")


def main():
    site = Site(sys.argv[1])
    site.check()
    print("\n".join(site.faults), end="\n" if site.faults else "")
    print(f"docs: {len(site.pages)} pages; {site.inside} links within the site, {len(site.faults)} of them broken; "
          f"{site.outside} to other sites, not looked at")
    sys.exit(1 if site.faults or not site.pages else 0)


if __name__ == "__main__":
    main()
