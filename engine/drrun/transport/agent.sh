# drrun/1, the host's side: what claims, starts, watches and reports a job. POSIX sh and /proc.
#
# It comes over stdin to `/bin/sh -s`, once a connection, followed by a call of `serve`; the same
# text lies in <base>/agent-<sha>.sh for supervisors. docs/reference/host-protocol.md tells the
# files and the rules; this file tells how they are kept. Nothing here prints but `answer`.
#
# Rule 1: what decides is mkdir(2) and link(2), never a look before a leap.
# Rule 2: a process is known by boot id, pid and start time; a pid alone is nobody.
# Rule 3: no child may inherit descriptor 9: it closes when the supervisor dies, however it dies.
set -u; umask 077
case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;; esac
UNIT=512
[ -z "${BASH_VERSION:-}" ] || { set +o posix; UNIT=1024; } # bash counts `ulimit -f` in KiB

number() { case ${1:-x} in *[!0-9]*) return 1 ;; esac; }
nap() { sleep 0.05 || sleep 1; }

boot() { # BOOT: this boot's id; FAKE_BOOT stands in for it in tests of a reboot
  BOOT=${FAKE_BOOT:-}
  [ -n "$BOOT" ] || read -r BOOT </proc/sys/kernel/random/boot_id || BOOT=unknown
}

born() { # pid -> BORN: its start time, GROUP; false for the dead and for zombies
  stat= BORN= GROUP=
  while IFS= read -r part; do stat="$stat$part "; done </proc/"$1"/stat || return 1
  stat=${stat##*)} # the name before it may hold blanks and brackets
  # shellcheck disable=SC2086
  set -- $stat
  case ${1:-Z} in Z | X) return 1 ;; esac
  GROUP=$3 BORN=${20}
}
alive() { number "$1" && born "$1" && [ "$BORN" = "$2" ]; }

settle() { # onto the disk: these files and directories only, never a global sync beside an etcd
  [ "$DURABLE" = 1 ] || return 0
  if [ "$SYNC" = file ]; then sync "$@"; return; fi
  for one; do [ ! -f "$one" ] || dd if=/dev/null of="$one" conv=notrunc,fsync || return; done
}

publish() { # file text: the whole text or nothing, and only if nobody was first
  count=$((count + 1))
  printf '%s\n' "$2" >"$1.$NONCE.$count" && ln "$1.$NONCE.$count" "$1" && return
  rm -f "$1.$NONCE.$count"
  return 1
}

outranked() { # epoch: has a higher one been published for this run?
  for one in "$R"/fence/*; do
    one=${one##*/}
    number "$one" && [ "$one" -gt "$1" ] && return 0
  done
  return 1
}

look() { # STATE of the job in $J, from its files
  STATE= CODE= WHY= CUT=0 LATE=0 OUT= ERR=
  if [ -e "$J/exit" ] && read -r CODE OUT ERR CUT LATE HELD <"$J/exit" && number "$CODE"; then
    STATE=exited
    return
  fi
  CODE= CUT=0 LATE=0 OUT= ERR=
  [ ! -e "$J/out.cut" ] && [ ! -e "$J/err.cut" ] || CUT=1
  [ ! -e "$J/late" ] || LATE=1
  [ -d "$J" ] || { STATE=absent; return; }
  [ -e "$J/start" ] || { STATE=claimed; return; }
  read -r where pid since rest <"$J/start" || where=
  case $where in
  abandoned) STATE=abandoned WHY="$pid $since" ;;
  "$BOOT")
    if alive "$pid" "$since"; then STATE=running
    elif [ ! -e "$J/child" ]; then STATE=lost WHY=died-before-exec
    elif read -r where pid since <"$J/child" && alive "$pid" "$since"; then STATE=orphan
    else STATE=lost WHY=killed; fi ;;
  *) STATE=lost WHY=reboot ;; # also an empty file: power went before it was on the disk
  esac
}
state() { # an exit is published before its supervisor dies: look again after a dead verdict
  look
  case $STATE in lost | orphan) [ ! -e "$J/exit" ] || look ;; esac
  :
}

answer() { # out-from err-from limit: the header, then exactly the bytes it announces
  [ -s "$J/out" ] || OUT=0
  [ -s "$J/err" ] || ERR=0
  [ -n "$OUT" ] || OUT=$(wc -c <"$J/out")
  [ -n "$ERR" ] || ERR=$(wc -c <"$J/err")
  o=$((OUT - $1)) e=$((ERR - $2))
  [ "$o" -ge 0 ] || o=0
  [ "$e" -ge 0 ] || e=0
  [ "$o" -le "$3" ] || o=$3
  [ "$e" -le "$3" ] || e=$3
  printf '\n%s state=%s boot=%s code=%s size=%s,%s send=%s,%s cut=%s late=%s why=%s\n' "$NONCE" \
    "$STATE" "$BOOT" "$CODE" "$((OUT))" "$((ERR))" "$o" "$e" "$CUT" "$LATE" "$WHY"
  [ "$o" = 0 ] || tail -c +$(($1 + 1)) "$J/out" | head -c "$o"
  [ "$e" = 0 ] || tail -c +$(($2 + 1)) "$J/err" | head -c "$e"
}
word() { printf '\n%s state=%s boot=%s why=%s\n' "$NONCE" "$1" "$BOOT" "$2"; }

tick() { # NOW: hundredths of a second since boot
  read -r up rest </proc/uptime
  NOW=${up%.*}${up#*.}
}

hold() { # milliseconds: until the job is over, or that long
  tick
  until=$((NOW + $1 / 10))
  if [ "$STATE" = running ] && [ -p "$J/done" ]; then
    # Opened for both first, so that opening for reading cannot block on a dead supervisor.
    exec 7<>"$J/done" 8<"$J/done" 7>&-
    timeout "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" cat <&8 >/dev/null
    exec 8<&-
  fi
  while state; do # a supervisor that was killed closes `done` while it still dies
    case $STATE in running | orphan) tick ;; *) return ;; esac
    [ "$NOW" -lt "$until" ] || return
    nap
  done
}

claim() { # epoch size witness: make the job's folder and fill it; false with STATE and WHY set
  WHY=$(mkdir "$J" 2>&1) || {
    head -c "$2" >/dev/null
    if [ -d "$J" ]; then state; else STATE=cannot-claim; fi
    return 1
  }
  WHY=
  if head -c "$2" >"$J/cmd" && [ "$(wc -c <"$J/cmd")" -eq "$2" ] && # a cut line: half a script
    printf '%s\n' "$3" >"$J/witness" && mkfifo "$J/o" "$J/e" "$J/event" "$J/done" &&
    dd if=/dev/zero of="$J/reserve" bs=8192 count=1 && settle "$J/cmd" "$J/reserve"; then
    if ! outranked "$1"; then return 0; fi
    publish "$J/start" "abandoned fenced"
    STATE=fenced
    return 1
  fi
  publish "$J/start" "abandoned disk" || :
  state
  return 1
}

launch() { # epoch timeout-ms durable cap-bytes size witness, then the script's bytes
  DURABLE=$3
  [ -d "$R" ] || mkdir -p "$R"
  holder=
  if outranked "$1"; then STATE=fenced
  elif [ -e "$B/lock" ] && read -r holder rest <"$B/lock" && [ "$holder" != "$run" ]; then
    STATE=fenced WHY="the host is locked: $holder $rest"
  elif [ ! -r "$A" ]; then STATE=cannot-claim WHY="no agent"
  elif [ -z "$SESSION" ]; then STATE=cannot-claim WHY="no setsid on this host"
  fi
  if [ -n "$STATE" ]; then
    head -c "$5" >/dev/null
    answer 0 0 0
    return
  fi
  if claim "$1" "$5" "$6"; then
    # The substitution ends when the supervisor closes its stdout: once `start` is on the disk.
    # shellcheck disable=SC2086
    : "$($SESSION $SH "$A" sup "$B" "$run" "$token" "$1" "$2" "$3" "$4" "$SYNC" "$SESSION" "$SH" "${FAKE_BOOT:-}" </dev/null &)"
    state
  fi
  answer 0 0 1048576
}

peopled() { # group: does anybody but zombies live in it? (kill -0 counts zombies)
  kill -0 -"$1" || return
  for one in /proc/[0-9]*; do born "${one##*/}" && [ "$GROUP" = "$1" ] && return; done
  return 1
}

end_group() { # pid tenths: TERM, that long, KILL. The group is watched all the while: no reuse
  kill -TERM -"$1" || return 0
  left=$2
  while peopled "$1"; do
    [ "$left" -gt 0 ] || { kill -KILL -"$1"; return; }
    left=$((left - 1))
    sleep 0.1 || { sleep 1; left=$((left - 9)); }
  done
}

stop() { # grace-ms
  tries=20
  state
  while [ "$STATE" = running ] && [ ! -s "$J/child" ] && [ "$tries" -gt 0 ]; do
    nap
    tries=$((tries - 1))
    state
  done
  case $STATE in running | orphan)
    if read -r where pid since <"$J/child" && [ "$where" = "$BOOT" ] && alive "$pid" "$since"; then
      end_group "$pid" $(($1 / 100))
    fi
    hold 3000 ;;
  esac
  answer 0 0 0
}

abandon() { # epoch: a late supervisor loses the link, and the token is used up even if unclaimed
  if outranked "$1"; then
    STATE=fenced
  else
    [ -d "$J" ] || mkdir -p "$J"
    publish "$J/start" "abandoned $1" || :
    settle "$J/start" "$J" "$R" || :
    state
  fi
  answer 0 0 0
}

ack() {
  state
  case $STATE in
  exited | lost | abandoned)
    rm -f "$J/cmd" "$J/out" "$J/err" "$J/o" "$J/e" "$J/event" "$J/done" "$J/reserve" "$J"/*.cut \
      "$J/late" "$J"/start.* ;;
  esac
  answer 0 0 0
}

fence() { # epoch holder: raise the run's epoch, then take the host's lock
  mkdir -p "$R/fence" || { word failed "cannot write $R"; return; }
  if ! publish "$R/fence/$1" "$2"; then
    owner=
    [ ! -e "$R/fence/$1" ] || read -r owner <"$R/fence/$1"
    [ -n "$owner" ] || { word failed "cannot write $R/fence/$1"; return; }
    [ "$owner" = "$2" ] || { word fenced "epoch $1 belongs to $owner"; return; }
  fi
  outranked "$1" && { word fenced "a higher epoch was published"; return; }
  mine="$run $1 $2 $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  publish "$B/lock" "$mine" || {
    holder=
    [ ! -e "$B/lock" ] || read -r holder rest <"$B/lock"
    [ -z "$holder" ] || [ "$holder" = "$run" ] || { word locked "$holder $rest"; return; }
    # Ours, of an older epoch: replaced whole.
    [ -n "$holder" ] && printf '%s\n' "$mine" >"$B/lock.$NONCE" &&
      mv -f "$B/lock.$NONCE" "$B/lock" || { word failed "cannot write $B/lock"; return; }
  }
  rm -f "$B"/lock."$NONCE".* "$R/fence/"*."$NONCE".*
  settle "$R/fence/$1" "$B/lock" "$R/fence" "$R" "$B" || :
  word held ""
}

release() { # epoch: moved aside before it is judged, so that a newer lock is never taken for ours
  if [ -e "$B/lock" ] && ! outranked "$1" && mv "$B/lock" "$B/lock.$NONCE.r"; then
    read -r holder rank rest <"$B/lock.$NONCE.r" || holder= rank=
    if [ "$holder" != "$run" ] || ! number "$rank" || [ "$rank" -gt "$1" ]; then
      ln "$B/lock.$NONCE.r" "$B/lock"
    fi
    rm -f "$B/lock.$NONCE.r"
  fi
  word released ""
}

install() { # size: this very text, for supervisors; the name is its content
  mkdir -p "$B" && head -c "$1" >"$A.$NONCE" && [ "$(wc -c <"$A.$NONCE")" -eq "$1" ] &&
    settle "$A.$NONCE" && mv -f "$A.$NONCE" "$A" && { word installed ""; return; }
  rm -f "$A.$NONCE"
  word failed "cannot write $A"
}

serve() { # nonce base sha: answer requests, one at a time, until stdin ends
  NONCE=$1 B=$2 A=$2/agent-$3.sh count=0 DURABLE=1
  exec 2>/dev/null
  boot
  SESSION=$(command -v setsid) || SESSION="$(command -v busybox) setsid" || SESSION=
  case $(sync --help 2>&1) in *FILE*) SYNC=file ;; *) SYNC=dd ;; esac
  if [ -r "$A" ]; then word ready present; else word ready missing; fi
  while read -r verb run token rest; do
    R=$B/$run J=$B/$run/$token DURABLE=1
    STATE= CODE= WHY= CUT=0 LATE=0 OUT= ERR=
    # shellcheck disable=SC2086
    set -- $rest
    case $verb in
    launch) launch "$@" ;;
    poll)
      state
      case $STATE in running | orphan) [ "$3" = 0 ] || hold "$3" ;; esac
      answer "$1" "$2" "$4" ;;
    kill) stop "$1" ;;
    abandon) abandon "$1" ;;
    ack) ack ;;
    fence) fence "$token" "$rest" ;;
    release) release "$token" ;;
    install) install "$token" ;;
    *) word failed "no such verb" ;;
    esac
  done
}

# ---- the supervisor: its own session, one a job ------------------------------------------------

drain() { # stream: neither a full disk nor a flood may hurt the command that writes
  exec 3<&- 4<&- 5>&- 6>&- 9>&-
  (ulimit -f "$((CAP / UNIT))"; trap '' XFSZ; exec cat 7>&-) >>"$J/$1"
  cut=$?
  [ "$cut" = 0 ] || { cut=1; : >"$J/$1.cut"; cat >/dev/null; }
  echo "drained $cut" >&7
}

watchdog() { # milliseconds: ends the job's group even when nobody asks any more
  exec 3<&- 4<&- 5>&- 6>&- 9>&-
  nap= late=
  trap '[ -n "$late" ] || { kill $nap; exit; }' TERM
  sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" &
  nap=$!
  wait "$nap"
  late=1
  read -r where pid since <"$J/child" && alive "$pid" "$since" || exit 0
  : >"$J/late"
  echo "late 1" >&7
  end_group "$pid" 50
}

timer() { # seconds: says so on the event pipe
  exec 3<&- 4<&- 5>&- 6>&- 9>&-
  nap=
  trap 'kill $nap; exit' TERM
  sleep "$1" &
  nap=$!
  wait "$nap"
  echo "held 1" >&7
}

finish() { # code: drained first, then the exit written where the disk already gave room
  [ -z "$dog" ] || { kill "$dog"; wait "$dog"; }
  timer 2 &
  clock=$!
  ended=0 cut=0 late=0 held=0
  while [ "$ended" -lt 2 ] && [ "$held" = 0 ]; do
    read -r what value <&7 || break
    case $what in
    drained) ended=$((ended + 1)); [ "$value" = 0 ] || cut=1 ;;
    late) late=1 ;;
    held) held=1 ;; # a daemon keeps the command's stdout: its output goes on, its exit is known
    esac
  done
  kill "$clock"
  out=0 err=0
  [ ! -s "$J/out" ] || out=$(wc -c <"$J/out")
  [ ! -s "$J/err" ] || err=$(wc -c <"$J/err")
  printf '%s %s %s %s %s %s\n' "$1" "$((out))" "$((err))" "$cut" "$late" "$held" 1<>"$J/reserve"
  ln "$J/reserve" "$J/exit"
  exec 9>&-
  settle "$J/reserve" "$J"
}

sup() { # base run token epoch timeout-ms durable cap sync session shell fake-boot
  B=$1 R=$1/$2 J=$1/$2/$3 epoch=$4 late=$5 DURABLE=$6 CAP=$7 SYNC=$8 SESSION=$9
  shift 9
  SH=$1 FAKE_BOOT=$2 NONCE=sup count=0 dog=
  exec 2>/dev/null
  cd /
  trap : TERM INT
  trap '' HUP
  boot
  if outranked "$epoch"; then
    publish "$J/start" "abandoned fenced"
    exit 3
  fi
  born $$
  exec 9<>"$J/done" # before `start`, or whoever waits on it would take us for dead
  # Losing this link means that somebody abandoned the job: it must not begin.
  publish "$J/start" "$BOOT $$ $BORN $epoch $(date -u +%s)" || exit 3
  settle "$J/start" "$J" "$R" || exit 3
  exec >/dev/null
  # Opened here, both ends, before anything can write: no opening blocks, no byte is lost.
  exec 7<>"$J/event"
  exec 8<>"$J/o" 3<"$J/o" 5>"$J/o" 8>&-
  exec 8<>"$J/e" 4<"$J/e" 6>"$J/e" 8>&-
  drain out <&3 &
  drain err <&4 &
  # shellcheck disable=SC2016,SC2086
  (
    trap - TERM INT HUP
    exec $SESSION $SH -c "$CHILD" drrun "$J" "$BOOT" "$SH"
  ) </dev/null >&5 2>&6 3<&- 4<&- 5>&- 6>&- 7>&- 9>&- &
  child=$!
  exec 3<&- 4<&- 5>&- 6>&-
  [ "$late" = 0 ] || { watchdog "$late" & dog=$!; }
  while :; do # a trapped signal ends `wait` early
    wait "$child"
    code=$?
    kill -0 "$child" || break
  done
  finish "$code"
}

# The child writes who it is, then becomes the script: pid and start time outlive an exec.
# shellcheck disable=SC2016
CHILD='J=$1 b=$2 s=$3
read -r t </proc/$$/stat
t=${t##*)}
set -- $t
printf "%s %s %s\n" "$b" $$ "${20}" >"$J/child"
set -- "$s" "$J/cmd"
unset J b s t
umask 022
exec $1 "$2"'

[ "${1:-}" != sup ] || { shift; sup "$@"; }
