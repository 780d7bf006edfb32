# What the tests of scripts judge by; sourced by them, with `said`, what a script said, and `status`, how it ended.
# shellcheck shell=sh disable=SC2154 # set by whoever sources this

passed=0 failed=0

# judge WANT TEXT…: it ended with WANT, and said each TEXT; one that begins with ! it didn't say.
judge() {
    want=$1
    shift
    wrong=
    [ "$status" -eq "$want" ] || wrong="ended with $status, not $want"
    for text in "$@"; do
        case $text in
        !*) case $said in *"${text#!}"*) wrong="$wrong; should not say: ${text#!}" ;; esac ;;
        *) case $said in *"$text"*) ;; *) wrong="$wrong; should say: $text" ;; esac ;;
        esac
    done
    if [ -z "$wrong" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n  %s\n%s\n' "$case_name" "$wrong" "$said" | sed '3,$s/^/  | /'
    fi
}
