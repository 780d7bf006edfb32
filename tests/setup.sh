#!/bin/sh
# Tests of scripts/setup on machines that lack things: a PATH of stand-ins, in a folder that goes afterwards.
set -eu
cd "$(dirname "$0")/.."
setup=$(pwd)/scripts/setup
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sha256=$(command -v sha256sum) || sha256="$(command -v shasum) -a 256"
. tests/judge.sh

# machine SYSTEM: a new machine with everything but what the case takes away.
machine() {
    rm -rf "${work:?}"/*
    mkdir -p "$work/bin" "$work/home"
    : >"$work/calls"
    for tool in sh sed tr dirname cat mktemp rm env grep mkdir chmod ln tar gzip tee; do ln -s "$(command -v $tool)" "$work/bin/$tool"; done
    case $1 in
    debian) echo 'ID=debian' >"$work/os" ;;
    mint) printf 'ID=linuxmint\nID_LIKE="ubuntu debian"\n' >"$work/os" ;;
    *) printf 'NAME="Something"\nID="%s"\n' "$1" >"$work/os" ;;
    esac
    tool uname 'echo Linux'
    tool id 'echo 0'
    tool cc 'exit 0'
    tool cmake 'exit 0'
    tool make 'exit 0'
    tool cargo 'exit 0'
    tool rustc 'echo "rustc 1.95.0 (0123456 2026-01-01)"'
    tool sha256sum "exec $sha256"
    tool initdb 'exit 0'
    tool pgbouncer 'exit 0'
    tool prometheus 'exit 0'
    tool promtool 'exit 0'
    tool dpkg-deb 'mkdir -p "$3/usr/bin"; printf "#!/bin/sh\n" >"$3/usr/bin/promtool"; chmod +x "$3/usr/bin/promtool"'
    tool nginx 'exit 0'
    tool caddy 'exit 0'
    tool apache2 'exit 0'
    python
    axe_core
    curl
    echo bundle >"$work/ca"
}

# tool NAME SCRIPT: puts a stand-in on the machine that notes each call.
tool() {
    rm -f "$work/bin/$1"
    printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$work" "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

# python [STATUS]: puts a python3 on the machine, and keeps it for apt to bring. In the environments that it makes all ends so.
python() {
    mkdir -p "$work/spare"
    tool python3 "case \"\$1 \$2\" in '-m venv')
        mkdir -p \"\$4/bin\"
        printf '#!/bin/sh\necho \"in-venv \$*\" >>$work/calls\nexit ${1:-0}\n' >\"\$4/bin/python\"
        chmod +x \"\$4/bin/python\" ;;
    esac"
    mv "$work/bin/python3" "$work/spare/python3"
    ln -s "$work/spare/python3" "$work/bin/python3"
}

# Makes a release of axe-core for curl to fetch, and the list that pins it.
axe_core() {
    mkdir -p "$work/spare/package"
    echo '/* axe */' >"$work/spare/package/axe.min.js"
    tar -czf "$work/spare/axe-core-9.8.7.tgz" -C "$work/spare" package
    pins=$work/pins
    (cd "$work/spare" && $sha256 axe-core-9.8.7.tgz && cd package && $sha256 axe.min.js) >"$pins"
}

# curl [STATUS]: puts a curl on the machine, and keeps it for apt to bring. It fetches the release, or nothing if it ends otherwise.
curl() {
    tool curl "[ ${1:-0} -eq 0 ] || { echo 'curl: it failed' >&2; exit ${1:-0}; }
    while [ \"\$1\" != -o ]; do shift; done
    cat $work/spare/axe-core-9.8.7.tgz >\"\$2\""
    mv "$work/bin/curl" "$work/spare/curl"
    ln -s "$work/spare/curl" "$work/bin/curl"
}

# An apt-get whose `install` brings the packages in question, and an apt-cache whose rustc has the version given.
apt_with_rust() {
    tool apt-get "[ ! -x $work/policy ] || $work/policy || echo \"services held: \$?\" >>$work/calls
    case \"\$*\" in *download*) : >prometheus_9_all.deb ;; *install*) for name in \"\$@\"; do case \$name in
        cmake | make | cargo | chromium | pgbouncer | nginx | caddy | mmdebstrap | buildah | podman | crun) printf '#!/bin/sh\n' >$work/bin/\$name; chmod +x $work/bin/\$name ;;
        dpkg-dev) printf '#!/bin/sh\n' >$work/bin/dpkg-shlibdeps; chmod +x $work/bin/dpkg-shlibdeps ;;
        systemd-container) printf '#!/bin/sh\n' >$work/bin/systemd-nspawn; chmod +x $work/bin/systemd-nspawn ;;
        postgresql) mkdir -p $work/postgresql/15/bin; printf '#!/bin/sh\n' >$work/postgresql/15/bin/initdb; chmod +x $work/postgresql/15/bin/initdb ;;
        python3 | curl) ln -sf $work/spare/\$name $work/bin/\$name ;;
        apache2-bin) printf '#!/bin/sh\n' >$work/bin/apache2; chmod +x $work/bin/apache2 ;;
        rustc) printf '#!/bin/sh\necho rustc $1 x\n' >$work/bin/rustc; chmod +x $work/bin/rustc ;;
        gcc) printf '#!/bin/sh\n' >$work/bin/cc; chmod +x $work/bin/cc ;;
        esac; done ;; esac"
    tool apt-cache "echo '  Candidate: $1'"
}

without() { for name in "$@"; do rm -f "$work/bin/$name"; done; }

# expect STATUS TEXT…: runs setup; it must end so, and say each text. A text that begins with ! it must not say.
expect() {
    want=$1
    shift
    status=0
    said=$(env -i PATH="$work/bin" HOME="$work/home" FORMGATE_OS_RELEASE="$work/os" FORMGATE_CA_BUNDLES="$work/ca" \
        FORMGATE_POSTGRES_VERSIONS="$work/postgresql" FORMGATE_SBIN="$work/sbin" FORMGATE_POLICY="$work/policy" FORMGATE_AXE_PINS="$pins" CARGO_TARGET_DIR="$work/target" \
        "$work/bin/sh" "$setup" $arguments 2>&1 </dev/null) || status=$?
    said="$said
$(cat "$work/calls")"
    judge "$want" "$@"
}

arguments=
case_name='a machine that has everything is left alone'
machine debian; apt_with_rust 1.95.0
expect 0 'ready: rustc 1.95.0' '!apt-get'

case_name='what is missing on Debian is installed by apt, and said'
machine debian; apt_with_rust 1.95.0; without cmake make
expect 0 'missing: cmake, make' 'installing cmake make' 'install --no-install-recommends cmake make' 'ready'

case_name="a compiler without the C library's headers is no compiler"
machine debian; apt_with_rust 1.95.0; tool cc 'exit 1'
expect 0 'installing gcc libc6-dev'

case_name="Debian's kin are known by ID_LIKE"
machine mint; apt_with_rust 1.95.0; without cmake
expect 0 'installing cmake'

case_name='who is not root installs by sudo'
machine debian; apt_with_rust 1.95.0; without cmake; tool id 'echo 1000'; tool sudo 'exec "$@"'
expect 0 'sudo env DEBIAN_FRONTEND=noninteractive apt-get' 'ready'

case_name='who is not root and has no sudo is told the command'
machine debian; apt_with_rust 1.95.0; without cmake; tool id 'echo 1000'
expect 1 'sudo apt-get install -y cmake' '!apt-get -y'

case_name="an apt that fails shows its words and the command"
machine debian; without cmake; tool apt-get 'echo "E: no such thing" >&2; exit 100'
expect 1 'E: no such thing' 'apt could not install' 'apt-get install -y cmake' '!ready'

case_name='an apt that brings nothing is found out'
machine debian; without cmake; tool apt-get 'exit 0'
expect 1 'these do not work: cmake'

for pair in 'fedora|sudo dnf install -y gcc glibc-devel cmake' 'alpine|sudo apk add gcc musl-dev cmake' \
    'arch|sudo pacman -S --needed gcc cmake' "plan9|a C compiler with headers, cmake"; do
    case_name="on ${pair%%|*} the command is told"
    machine "${pair%%|*}"; without cc cmake
    expect 1 "${pair#*|}" '!ready'
done

case_name='on macOS the commands are told'
machine macos; tool uname 'echo Darwin'; without cc cmake
expect 1 'xcode-select --install' 'brew install cmake'

case_name='a cargo that is missing is left to the person where apt has too old a one'
machine debian; apt_with_rust 1.63.0+dfsg1-2; without cargo rustc
expect 1 'cargo and rustc are missing' 'https://sh.rustup.rs' '!cargo rustc 1.63' '!install --no'

case_name="a cargo that is missing comes from apt where apt's is new enough"
machine debian; apt_with_rust 1.99.1+dfsg0-1; without cargo rustc
expect 0 'install --no-install-recommends cargo rustc' 'ready: rustc 1.99.1'

case_name='a Rust that is too old is told with its version and the cure'
machine fedora; tool rustc 'echo "rustc 1.70.0 (x)"'; tool rustup 'exit 0'
expect 1 'rustc 1.70.0 is too old' 'rustup update stable' '!sh.rustup.rs'

case_name='a rustup without a toolchain is found out'
machine debian; tool rustc 'exit 1'; tool rustup 'exit 0'
expect 1 'does not run' 'rustup default stable'

case_name='all that is wrong is told at once'
machine fedora; without cmake cargo
expect 1 'dnf install -y cmake' 'cargo and rustc are missing'

case_name='without certificates nothing can be fetched'
machine arch; : >"$work/ca"
expect 1 'pacman -S --needed ca-certificates'

case_name='the tests need curl, for what the documents tell to type'
arguments=--test
machine debian; apt_with_rust 1.95.0; tool chromium 'exit 0'; without curl
expect 0 'missing: curl' 'installing curl' '!chromium' 'ready'

case_name='the tests need Chromium, for what a visitor meets'
machine debian; apt_with_rust 1.95.0
expect 0 'missing: chromium' 'install --no-install-recommends chromium' 'ready'

case_name='a Chromium of another name will do'
machine debian; apt_with_rust 1.95.0; tool google-chrome 'exit 0'
expect 0 '!missing' 'ready'

case_name='without a Chromium the tests are not begun'
machine debian; tool apt-get 'exit 0'
expect 1 'these do not work: chromium'

case_name='on macOS the command for it is told'
machine macos; tool uname 'echo Darwin'
expect 1 'brew install --cask chromium'

# What the tests need beside Python and axe-core.
testing() { machine "$1"; apt_with_rust 1.95.0; tool chromium 'exit 0'; }

case_name='the tests need PostgreSQL, which Debian keeps outside PATH'
testing debian; without initdb
expect 0 'missing: postgresql' 'install --no-install-recommends postgresql' 'ready'
: >"$work/calls"
expect 0 '!missing' '!apt-get' 'ready'

for pair in 'fedora|sudo dnf install -y postgresql-server' 'arch|sudo pacman -S --needed postgresql' 'plan9|the PostgreSQL server'; do
    case_name="on ${pair%%|*} the command for PostgreSQL is told"
    testing "${pair%%|*}"; without initdb
    expect 1 "${pair#*|}" '!ready'
done

case_name='the tests need PgBouncer'
testing debian; without pgbouncer
expect 0 'missing: pgbouncer' 'install --no-install-recommends pgbouncer' 'ready'

case_name='the tests need web servers, of which no service starts, now or with the machine'
testing debian; tool systemctl 'exit 0'; without nginx caddy apache2
expect 0 'missing: nginx, caddy, apache' 'install --no-install-recommends nginx caddy apache2-bin' 'services held: 101' \
    'systemctl disable --quiet nginx' 'systemctl disable --quiet caddy' 'ready'
: >"$work/calls"
[ ! -e "$work/policy" ] || echo 'policy left' >>"$work/calls"
expect 0 '!missing' '!policy left' '!systemctl'

case_name='a web server that was there before keeps its service'
testing debian; tool systemctl 'exit 0'; without pgbouncer
expect 0 'installing pgbouncer' '!systemctl' 'ready'

case_name='a policy for services that was there before stays'
testing debian; without nginx; printf '#!/bin/sh\nexit 104\n' >"$work/policy"; chmod +x "$work/policy"
expect 0 'services held: 104' 'ready'
[ -e "$work/policy" ] || { failed=$((failed + 1)); echo "FAILED: $case_name"; }

case_name='an apt that fails leaves services as they were'
testing debian; tool apt-get 'exit 100'; without caddy
expect 1 'apt could not install' 'sudo systemctl disable --now caddy' '!ready'
[ ! -e "$work/policy" ] || { failed=$((failed + 1)); echo "FAILED: $case_name"; }

for pair in 'fedora|sudo dnf install -y nginx caddy httpd mod_ssl' 'alpine|sudo apk add nginx caddy apache2 apache2-ssl apache2-proxy' \
    'arch|sudo pacman -S --needed nginx caddy apache' 'macos|brew install httpd'; do
    case_name="on ${pair%%|*} the command for web servers is told"
    testing "${pair%%|*}"; without nginx caddy apache2
    [ "${pair%%|*}" != macos ] || tool uname 'echo Darwin'
    expect 1 "${pair#*|}" '!ready'
done

case_name='an Apache of another name will do'
testing fedora; without apache2; tool httpd 'exit 0'
expect 0 '!missing' 'ready'

case_name='on macOS PostgreSQL is linked into PATH'
testing macos; tool uname 'echo Darwin'; without initdb
expect 1 'brew install postgresql@17 && brew link --force postgresql@17' '!ready'

case_name='the tests need Python packages, pinned by hash'
testing debian
expect 0 '!missing' 'into '"$work/target/python-tools" 'in-venv -m pip install' '--no-deps --require-hashes -r tests/python/requirements.txt' 'ready'

case_name='Python packages that are there are not installed again'
: >"$work/calls"
expect 0 'in-venv -c import' '!venv --clear' '!pip install' 'ready'

case_name='Python packages of an older list are replaced'
echo 'aiosmtpd==1' >"$work/target/python-tools/installed.txt"
expect 0 'venv --clear' 'pip install' 'ready'

case_name='Python packages that do not work any more are installed again'
: >"$work/calls"; printf '#!/bin/sh\nexit 1\n' >"$work/target/python-tools/bin/python"
expect 0 'venv --clear' 'pip install' 'ready'

case_name='a pip that fails is told'
testing debian; python 1
expect 1 'pip could not install the packages of tests/python/requirements.txt' '!ready'

case_name="a Debian without Python gets it from apt, with what makes environments"
testing debian; without python3
expect 0 'missing: python' 'install --no-install-recommends python3 python3-venv' 'pip install' 'ready'

case_name="Debian's Python without python3-venv is not enough"
testing debian; tool python3 'exit 1'
expect 0 'missing: python' 'install --no-install-recommends python3 python3-venv' 'ready'

for pair in 'fedora|sudo dnf install -y python3' 'arch|sudo pacman -S --needed python' 'plan9|Python 3.9 or newer with venv'; do
    case_name="on ${pair%%|*} the command for Python is told"
    testing "${pair%%|*}"; without python3
    expect 1 "${pair#*|}" '!ready'
done

case_name='the tests need axe-core, pinned by hash'
testing debian
expect 0 'fetching axe-core-9.8.7.tgz into '"$work/target/axe-core" 'https://registry.npmjs.org/axe-core/-/axe-core-9.8.7.tgz' 'ready'

case_name='an axe-core that is there is not fetched again'
: >"$work/calls"
expect 0 '!fetching' '!curl' 'ready'

case_name='an axe-core with another hash is replaced'
echo '/* older */' >"$work/target/axe-core/axe.min.js"
expect 0 'fetching axe-core-9.8.7.tgz' 'ready'
: >"$work/calls"
expect 0 '!fetching' 'ready'

case_name='without a network the release of the real list is named, and the way to do without'
testing debian; curl 6; pins=
expect 1 'curl: it failed' 'could not fetch https://registry.npmjs.org/axe-core/-/axe-core-4.' \
    "put that release's package/axe.min.js into $work/target/axe-core" '!ready'

case_name='an axe-core that was put there by hand will do'
testing debian; curl 6; mkdir -p "$work/target/axe-core"; cp "$work/spare/package/axe.min.js" "$work/target/axe-core"
expect 0 '!fetching' '!curl' 'ready'

case_name='a release with another hash is not unpacked'
testing debian; tar -cf "$work/spare/axe-core-9.8.7.tgz" -C "$work/spare" package; tool tar 'exit 0'
expect 1 "doesn't have the SHA-256 in $work/pins" "put that release's package/axe.min.js" '!tar -x' '!ready'

case_name='a release that tar does not unpack is told'
testing debian; tool tar 'exit 2'
expect 1 'tar could not unpack' '!ready'

case_name='a list whose two hashes are of two releases is found out'
testing debian; sed 's/^.*  axe.min.js/0000  axe.min.js/' "$work/pins" >"$work/other-pins"; pins=$work/other-pins
expect 1 "the axe.min.js of axe-core-9.8.7.tgz doesn't have the SHA-256 in $work/other-pins" '!ready'

case_name='a macOS without sha256sum has shasum'
testing macos; tool uname 'echo Darwin'; without sha256sum; tool shasum "exec $sha256"
expect 0 'shasum -a 256' 'fetching axe-core-9.8.7.tgz' 'ready'

case_name="the tests need Prometheus, which Debian's package would start"
testing debian; without prometheus promtool
expect 0 "unpacking Debian's prometheus" 'apt-get -q download prometheus' 'dpkg-deb -x' '!recommends' 'ready'

case_name='a Prometheus that was unpacked is not fetched again'
: >"$work/calls"
expect 0 '!unpacking' '!apt-get' 'ready'

case_name="who is not root and has no sudo gets Prometheus all the same"
testing debian; without prometheus promtool; tool id 'echo 1000'
expect 0 'apt-get -q download prometheus' '!apt-get -y' 'ready'

case_name='an apt that brings no Prometheus shows its words'
testing debian; without promtool; tool apt-get 'echo "E: no such thing" >&2; exit 100'
expect 1 'E: no such thing' 'apt could not bring prometheus' '!ready'

for pair in 'fedora|sudo dnf install -y golang-github-prometheus' 'arch|sudo pacman -S --needed prometheus'; do
    case_name="on ${pair%%|*} the command for Prometheus is told"
    testing "${pair%%|*}"; without promtool
    expect 1 "${pair#*|}" '!ready'
done

case_name='who only builds needs no Python, no axe-core, no PostgreSQL and no Prometheus'
arguments=
machine debian; without python3 curl initdb promtool
expect 0 '!python' '!axe-core' '!postgresql' '!prometheus' 'ready'

case_name='a cluster needs PostgreSQL, and no Chromium and no Python'
arguments=--cluster
machine debian; apt_with_rust 1.95.0; without python3 curl initdb
expect 0 'missing: postgresql' '!python' '!chromium' 'ready'

case_name='a release needs Python, for the list of what is in it'
arguments=--dist
machine debian; apt_with_rust 1.95.0; without python3 curl initdb
expect 0 'missing: python' 'install --no-install-recommends python3 python3-venv' '!pip install' '!buildah' 'ready'

case_name='an image needs what builds and runs it'
arguments=--image
machine debian; apt_with_rust 1.95.0; without initdb
expect 0 'missing: mmdebstrap, buildah, podman, crun' 'install --no-install-recommends mmdebstrap buildah podman crun' '!postgresql' 'ready'
: >"$work/calls"
expect 0 '!missing' '!apt-get' 'ready'

case_name='a package needs what builds it and tries it'
arguments=--package
machine debian; apt_with_rust 1.95.0; without initdb
expect 0 'missing: dpkg-shlibdeps, mmdebstrap, systemd-nspawn' 'install --no-install-recommends dpkg-dev mmdebstrap systemd-container' '!postgresql' 'ready'

case_name='an image is not begun without its tools'
arguments=--image
machine fedora; tool buildah 'exit 0'
expect 1 'sudo dnf install -y mmdebstrap podman crun' '!ready'

echo "scripts/setup: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
