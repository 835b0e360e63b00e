# Sourced by every script here: `--help` prints the comment that the script begins with.
case "${1:-}" in -h | --help)
    awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
    exit
    ;;
esac
