# For the scripts beside it: `whole_number 1e9` prints 1000000000, and fails for what is no whole number from 1 to 1e15.
whole_number() {
    [[ "$1" =~ ^0*([0-9]{1,16})(e0*([0-9]|1[0-5]))?$ ]] || return 1
    local mantissa=${BASH_REMATCH[1]} exponent=${BASH_REMATCH[3]:-0} limit=1000000000000000
    ((mantissa >= 1 && mantissa <= limit / 10 ** exponent)) || return 1
    echo $((mantissa * 10 ** exponent))
}
