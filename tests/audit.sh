#!/bin/sh
# Tests of scripts/audit where its tools say this or that: stand-ins for them, in a folder that goes afterwards.
# shellcheck disable=SC2016 # cargo's own backquotes
set -eu
cd "$(dirname "$0")/.."
audit=$(pwd)/scripts/audit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. tests/judge.sh
msrv=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

# tool PATH SCRIPT: makes a stand-in that notes each call.
tool() {
    printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n%s\n' "${1##*/}" "$work" "$2" >"$work/$1"
    chmod +x "$work/$1"
}

# A machine on which everything is well, and everything can be checked.
machine() {
    rm -rf "${work:?}"/*
    mkdir -p "$work/bin" "$work/target/tools/bin"
    : >"$work/calls"
    yanked='' newer='' linted="the current MSRV (Minimum Supported Rust Version) is \`$msrv.0\`" deny=true build=true
    cargo
    tool bin/rustc 'echo "rustc 1.99.1 (x)"'
    tool bin/rustup "case \"\$*\" in *list) echo $msrv.0-x86_64-unknown-linux-gnu ;; *check*) $build ;; esac"
    deny "$deny"
}

# Says what cargo's own commands find, by the variables of the case.
cargo() {
    cat >"$work/metadata" <<METADATA
{"packages":[$(i=0; while [ $i -lt 60 ]; do echo "{\"id\":\"a@1\",\"rust_version\":\"1.60\"},"; i=$((i + 1)); done)
{"id":"b@1","rust_version":"$newer"}]}
METADATA
    tool bin/cargo "case \"\$1\" in
        package) echo '$yanked' ;;
        metadata) cat $work/metadata ;;
        clippy) echo '$linted' >&2; exit 1 ;;
        install) exit 1 ;;
        esac"
}

# deny CHECK [FETCH]: cargo-deny, whose advisories and whose fetching end so.
deny() {
    echo "cargo-deny $(sed -n 's/^cargo_deny=//p' "$audit")" >"$work/target/tools/cargo-deny.installed"
    tool target/tools/bin/cargo-deny "case \"\$*\" in
        *'fetch db') ${2:-true} ;;
        *advisories*) $1 ;;
        esac"
}

# expect STATUS TEXT…: runs the audit; it must end so, and say each text. A text that begins with ! it must not say.
expect() {
    want=$1
    shift
    status=0
    # shellcheck disable=SC2086 # one word an argument
    said=$(env PATH="$work/bin:$PATH" CARGO_HOME="$work/cargo" CARGO_TARGET_DIR="$work/target" \
        "$audit" $arguments 2>&1 </dev/null) || status=$?
    said="$said
$(cat "$work/calls")"
    judge "$want" "$@"
}

arguments=--strict
case_name='where all is well, all is checked'
machine
expect 0 'fetched now' '--offline check advisories' "$msrv: checking the program with it" 'nothing wrong' '!NOT CHECKED'

case_name='without a database that is a failure where all had to be checked'
machine; deny true false
expect 1 'NOT CHECKED: known holes' 'FAILED: --strict' '!--offline check advisories'

case_name='without a database it is said, and the rest is checked'
arguments=
expect 0 'NOT CHECKED: known holes' 'withdrawn versions' 'nothing wrong in what was checked'

case_name='a database that was fetched before is used, and its day said'
machine; deny true false; mkdir -p "$work/cargo/advisory-dbs/db/crates"
expect 0 "fetched before, on $(date +%F)" '--offline check advisories' '!NOT CHECKED'

case_name='a known hole is a failure'
machine; deny 'exit 1'
expect 1 'FAILED: known holes'

case_name='a withdrawn version is a failure'
machine; yanked='warning: package `b v1` in Cargo.lock is yanked in registry `crates-io`'; cargo
expect 1 '`b v1` in Cargo.lock is yanked' 'FAILED: Cargo.lock has withdrawn versions'

case_name='a crate that asks for a newer Rust is a failure'
machine; newer=1.90; cargo
expect 1 'b@1 asks for Rust 1.90' 'FAILED: a crate needs a newer Rust'

case_name='a patch release counts'
machine; newer=$msrv.0; cargo
expect 0 '!asks for' 'nothing wrong'

case_name='a lint that is off is a failure'
machine; linted='warning: something else'; cargo
expect 1 'FAILED: clippy::incompatible_msrv is off'

case_name='without the oldest Rust it is said'
machine; tool bin/rustup 'echo stable-x86_64-unknown-linux-gnu'
expect 0 "NOT CHECKED: a build with Rust $msrv" "rustup toolchain install $msrv" '!rustup run'

case_name='a program that the oldest Rust does not build is a failure'
machine; tool bin/rustup "case \"\$*\" in *list) echo $msrv.0-x ;; *) exit 1 ;; esac"
expect 1 "doesn't build with Rust $msrv"

case_name='cargo-deny that can not be installed is a failure, and the rest is checked'
machine; rm "$work/target/tools/bin/cargo-deny"
expect 1 'installing cargo-deny' "can't be installed" 'withdrawn versions'

case_name='a cargo-deny of another version is not used'
machine; echo "cargo-deny 0.0.1" >"$work/target/tools/cargo-deny.installed"
expect 1 'installing cargo-deny' '!check bans'

case_name='a binary without a list is a failure'
machine; arguments="--binary $audit"; tool target/tools/bin/rust-audit-info 'echo "no audit data" >&2; exit 1'
echo "rust-audit-info $(sed -n 's/^rust_audit_info=//p' "$audit")" >"$work/target/tools/rust-audit-info.installed"
expect 1 'lists no crates' 'no audit data'

case_name='invalid usage is told'
machine; arguments='--binary no/where'
expect 64 '--binary needs a file'

echo "scripts/audit: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
