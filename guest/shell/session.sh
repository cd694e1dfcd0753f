# Keeps one bash for many runs: reads orders, sources each program, says what became of it. Protocol: ../PROTOCOL.md.
#
# How a run ends before its last command. `exit` is a function, and the trap of SIGINT calls the like of it: from then on a DEBUG trap
# answers 2, which in `extdebug` makes every function and the program itself return. What ends the shell all the same (`set -e`, an
# unset variable under `set -u`, `${name:?}`) comes to the trap of EXIT, which writes down variables, functions, aliases, options and
# traps, and executes this file again, as the same process, to take them up; the table of jobs is then empty, the jobs go on.
#
# Names of ours begin with __fireclay_. `builtin` everywhere, since a program may define functions of any name.

__fireclay_on= __fireclay_status=0 __fireclay_end= __fireclay_unwinding= __fireclay_options= __fireclay_at_exit=
__fireclay_restore= __fireclay_run= __fireclay_debug= __fireclay_renewed=
__fireclay_shell=$0

# Sends one frame: kind, JSON of ASCII and less than 256 bytes.
__fireclay_say() {
  builtin local length
  builtin printf -v length '%02x' "${#2}"
  builtin printf "\\x0$1\\x$length\\x00\\x00\\x00%s" "$2" >&63
}

# The DEBUG trap while a run is left. The loop itself is at depth 2.
__fireclay_step() {
  ((${#FUNCNAME[@]} <= 2)) || builtin return 2
}

# Leaves the run with this end and code.
__fireclay_unwind() {
  __fireclay_end=$1 __fireclay_status=$2
  [[ -z $__fireclay_unwinding ]] || builtin return 0
  __fireclay_unwinding=1
  __fireclay_debug=$(builtin trap -p DEBUG)
  # With its own options set here, those of the program are what they were.
  __fireclay_options=$-
  builtin shopt -q extdebug && __fireclay_debug+=$'\n'"builtin shopt -s extdebug"
  builtin set +e
  builtin shopt -s extdebug
  builtin trap __fireclay_step DEBUG
}

__fireclay_interrupt() {
  [[ -n $__fireclay_on ]] || builtin return 0
  # `read` goes on after a trap: let it find the end.
  exec 0< /dev/null
  __fireclay_unwind interrupted 130
}

exit() {
  builtin local code="${1-$?}"
  [[ $BASHPID == "$$" && -n $__fireclay_on ]] || builtin exit "$code"
  if [[ $# -gt 1 || ! $code =~ ^[-+]?[0-9]+$ ]]; then
    # Says what is wrong; in a subshell, which it ends.
    code=$( (builtin exit "$@") 3>&1 1>&2 2>&3 ) || builtin true
    builtin printf '%s\n' "$code" >&2
    code=2
  fi
  builtin local action="$__fireclay_at_exit"
  __fireclay_at_exit=
  if [[ -n $action ]]; then
    (builtin exit "$code") || builtin true
    builtin eval "$action"
  fi
  __fireclay_unwind exit "$((code & 255))"
}

# As the builtin, but EXIT: that trap is ours, and theirs is kept for when the program exits or the session ends.
trap() {
  [[ $BASHPID == "$$" ]] || { builtin trap "$@"; builtin return; }
  builtin local signals
  signals=()
  [[ ${1-} != -- ]] || builtin shift
  case ${1-} in
    -l) builtin trap -l; builtin return ;;
    '' | -p)
      if (($# == 0)) || [[ $1 == -p ]]; then
        if [[ -n $__fireclay_at_exit && ($# -le 1 || " $* " == *" EXIT "* || " $* " == *" 0 "*) ]]; then
          builtin printf 'trap -- %q EXIT\n' "$__fireclay_at_exit"
        fi
        builtin local line
        while IFS= builtin read -r line; do
          [[ $line == *__fireclay_* ]] || builtin printf '%s\n' "$line"
        done < <(builtin trap "$@")
        builtin return
      fi ;;
  esac
  builtin local action="$1" signal
  (($# > 1)) && builtin shift || action=-
  for signal; do
    case ${signal^^} in
      EXIT | SIGEXIT | 0)
        __fireclay_at_exit=$action
        [[ $action != - ]] || __fireclay_at_exit= ;;
      *) signals+=("$signal") ;;
    esac
  done
  ((${#signals[@]} == 0)) || {
    builtin trap -- "$action" "${signals[@]}" || builtin return
    for signal in "${signals[@]}"; do
      [[ $action != - || ${signal^^} != @(INT|SIGINT|2) ]] || builtin trap __fireclay_interrupt INT
    done
  }
}
builtin declare -ft trap

# Gives the run its directory and variables; what undoes that is in __fireclay_restore.
__fireclay_surround() {
  builtin local pair name place
  __fireclay_restore=
  while IFS= builtin read -r -d '' pair; do
    name=${pair%%=*}
    if [[ -n ${!name+set} ]]; then
      __fireclay_restore+="$(builtin declare -p "$name")"$'\n'
    else
      __fireclay_restore+="builtin unset -v $name"$'\n'
    fi
    builtin export "$pair"
  done < <([[ -e $__fireclay_run/env ]] && cat "$__fireclay_run/env")
  if [[ -e $__fireclay_run/cwd ]]; then
    IFS= builtin read -r -d '' place < "$__fireclay_run/cwd"
    builtin printf -v name 'builtin cd -- %q; OLDPWD=%q' "$PWD" "${OLDPWD-}"
    __fireclay_restore+=$name$'\n'
    builtin cd -- "$place" || builtin return
  fi
}

# Waits for the next order; false at the end of orders.
__fireclay_next() {
  builtin local line status
  __fireclay_on=
  while :; do
    IFS= builtin read -r -u 62 line && builtin break
    status=$?
    # More than 128: a signal.
    ((status > 128)) || builtin return 1
  done
  # Where bash will keep the four descriptors that it closes for the run: the first free ones from ten on.
  __fireclay_saved=()
  for ((status = 10; ${#__fireclay_saved[@]} < 4; status++)); do
    [[ -e /proc/self/fd/$status ]] || __fireclay_saved+=("$status")
  done
  __fireclay_on=1 __fireclay_end= __fireclay_run=${line#run }
  BASH_ARGV0=bash
  [[ ! -e $__fireclay_run/name ]] || IFS= builtin read -r -d '' BASH_ARGV0 < "$__fireclay_run/name"
  __fireclay_surround || { __fireclay_unwind error 1; builtin trap - DEBUG; }
}

# After a run: makes the shell ours again, and says how the run ended.
__fireclay_finish() {
  [[ -n $__fireclay_unwinding$__fireclay_renewed ]] || __fireclay_options=$-
  builtin set +evxunfC
  __fireclay_on= __fireclay_unwinding= __fireclay_renewed=
  if [[ -z $__fireclay_end ]]; then
    __fireclay_end=ok
    ((__fireclay_status == 0)) || __fireclay_end=error
  fi
}

__fireclay_take_back() {
  # By way of 0: a copy of a close-on-exec descriptor is close-on-exec, too, but below 3.
  exec 0>&"$1" 60>&0 0>&"$2" 61>&0 0<&"$3" 62<&0 0>&"$4" 63>&0 0< /dev/null
}

# Only in the trap of EXIT: goes on as a new shell with the old one's state, or ends.
__fireclay_leave() {
  __fireclay_status=$1
  [[ $BASHPID == "$$" ]] || builtin return "$1"
  __fireclay_options=$- __fireclay_renewed=1
  builtin set +evxunfC
  if [[ -n $__fireclay_at_exit ]]; then
    builtin local action="$__fireclay_at_exit"
    __fireclay_at_exit=
    (builtin exit "$1") || builtin true
    builtin eval "$action"
  fi
  [[ -n $__fireclay_on ]] || builtin return "$1"
  # An error in an expansion comes here with the run's redirections in force.
  [[ -e /proc/self/fd/63 ]] || __fireclay_take_back "${__fireclay_saved[@]}"
  builtin local state
  state=$(__fireclay_state "${@:2}")
  builtin exec -- "$BASH" "$__fireclay_shell" resume 59<<< "$state"
}

__fireclay_state() {
  builtin local name
  while IFS= builtin read -r name; do
    case $name in
      BASH* | FUNCNAME | DIRSTACK | GROUPS | PIPESTATUS | RANDOM | SRANDOM | LINENO | EPOCH* | EUID | UID | PPID | SHELLOPTS | _ | name) ;;
      *) builtin declare -p "$name" ;;
    esac
  done < <(builtin compgen -v)
  while IFS= builtin read -r name; do
    [[ $name == @(__fireclay_*|exit|trap) ]] || builtin declare -f "$name"
  done < <(builtin compgen -A function)
  builtin alias -p
  builtin shopt -p
  # All but EXIT, which is ours.
  builtin trap -p {1..31} DEBUG ERR RETURN
  builtin printf 'builtin set --'
  (($# == 0)) || builtin printf ' %q' "$@"
  builtin printf '\n'
}

__fireclay_close() {
  # What a program closed is given back; what it redirected stays so.
  [[ -e /proc/self/fd/1 ]] || exec 1>&61
  [[ -e /proc/self/fd/2 ]] || exec 2>&60
  exec 0< /dev/null
  __fireclay_say 4 "{\"status\":\"$__fireclay_end\",\"code\":$__fireclay_status}"
}

builtin trap '__fireclay_leave "$?" "$@"' EXIT
builtin trap __fireclay_interrupt INT
if [[ ${1-} == resume ]]; then
  . /proc/self/fd/59 2> /dev/null
  exec 59<&-
else
  builtin shopt -s expand_aliases
  # Above what programs count to.
  exec 63>&3 62<&4 61>&1 60>&2 3>&- 4<&- 0< /dev/null
  __fireclay_say 5 '{}'
fi

while :; do
  {
    if [[ -n $__fireclay_on ]]; then
      [[ -n $__fireclay_unwinding$__fireclay_renewed ]] || __fireclay_status=$__fireclay_last
      [[ -z $__fireclay_unwinding ]] || { builtin trap - DEBUG; builtin shopt -u extdebug; builtin eval "$__fireclay_debug"; }
      __fireclay_finish
      builtin eval "$__fireclay_restore"
      __fireclay_close
    fi
  } 2> /dev/null
  __fireclay_next || builtin break
  exec 0< "$__fireclay_run/stdin"
  [[ -z $__fireclay_options ]] || builtin set "-${__fireclay_options//[ics]/}"
  # The descriptors of the protocol are not the program's, nor its children's.
  . "$__fireclay_run/code" 60>&- 61>&- 62<&- 63>&-
  { __fireclay_last=$?; } 2> /dev/null
done
builtin exit 0
