# Sourced by every script here that is run by itself: `--help` prints the comment that the script begins with.
case "${1:-}" in -h | --help)
    awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
    exit
    ;;
esac
