# drrun/1, the host's side: what claims, starts, watches and reports a job. POSIX sh and /proc.
#
# It comes over stdin to `/bin/sh -s`, once a connection, followed by a call of `serve`; the same
# text lies in <base>/agent-<sha>.sh for supervisors. docs/reference/host-protocol.md tells the
# files and the rules; this file tells how they are kept. Nothing here prints but `answer`.
#
# Rule 1: what decides is mkdir(2) and link(2), never a look before a leap.
# Rule 2: a process is known by boot id, pid and start time; a pid alone is nobody.
# Rule 3: no child may inherit descriptor 9: it is open while a supervisor works, and closes with it.
# Rule 4: starting a program costs more than all else here: `test`, `read` and `printf` do what they can.
set -u; umask 077
case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;; esac
UNIT=512
[ -z "${BASH_VERSION:-}" ] || { set +o posix; UNIT=1024; } # bash counts `ulimit -f` in KiB

number() { case ${1:-x} in *[!0-9]*) return 1 ;; esac; }
nap() { sleep 0.05 || sleep 1; }
seconds() { S=$((1000 + $1 % 1000)) S=$(($1 / 1000)).${S#1}; } # milliseconds -> S, for programs

tick() { # NOW: hundredths of a second since boot
  read -r up rest </proc/uptime
  NOW=$((${up%.*} * 100 + 1${up#*.} - 100)) # the 1: 08 would be no octal number
}

boot() { # BOOT: this boot's id; FAKE_BOOT stands in for it in tests of a reboot
  BOOT=${FAKE_BOOT:-}
  [ -n "$BOOT" ] || read -r BOOT </proc/sys/kernel/random/boot_id || BOOT=unknown
}

born() { # pid (or self) -> PID, PARENT, GROUP, BORN: its start time; false for dead and zombies
  stat= PID= PARENT= BORN= GROUP=
  while IFS= read -r part; do stat="$stat$part "; done </proc/"$1"/stat || return 1
  PID=${stat%% *}
  stat=${stat##*)} # the name before it may hold blanks and brackets
  # shellcheck disable=SC2086
  set -- $stat
  PARENT=${2:-}
  case ${1:-Z} in Z | X) return 1 ;; esac
  GROUP=$3 BORN=${20}
}
alive() { number "$1" && born "$1" && [ "$BORN" = "$2" ]; }
ours() { born "$1" || :; [ "$PARENT" = $$ ]; } # our own child, or its zombie: no other has its pid

settle() { # onto the disk: these files and directories only, never a global sync beside an etcd
  [ "$DURABLE" = 1 ] || return 0
  if [ "$SYNC" = file ]; then sync "$@"; return; fi
  for one; do [ ! -f "$one" ] || dd if=/dev/null of="$one" conv=notrunc,fsync || return; done
}

marked() { # CUT, as far as the drains could leave a mark
  [ ! -e "$J/out.cut" ] || CUT=$((CUT | 1))
  [ ! -e "$J/err.cut" ] || CUT=$((CUT | 2))
}

publish() { # file text [firm]: the whole text or nothing, and only if nobody was first
  count=$((count + 1))
  printf '%s\n' "$2" >"$1.$NONCE.$count" &&
    { [ -z "${3:-}" ] || settle "$1.$NONCE.$count"; } && ln "$1.$NONCE.$count" "$1" && return
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

peopled() { # group: does anybody but zombies live in it? (kill -0 counts zombies)
  kill -0 -"$1" || return
  for one in /proc/[0-9]*; do born "${one##*/}" && [ "$GROUP" = "$1" ] && return; done
  return 1
}

end_group() { # pid tenths: TERM, that long, KILL. The group is watched all the while: no reuse
  left=$2
  # It says who it is just before its setsid: then its group is not there yet.
  while born "$1" && [ "$GROUP" != "$1" ] && [ "$left" -gt 0 ]; do nap; left=$((left - 1)); done
  kill -TERM -"$1" || kill -TERM "$1" || return 0
  while peopled "$1"; do
    [ "$left" -gt 0 ] || { kill -KILL -"$1"; return; }
    left=$((left - 1))
    sleep 0.1 || { sleep 1; left=$((left - 9)); }
  done
}

# ---- supervisors: a session of their own, one job after the other; they do not read on from here ----
#
# 0: orders, 3 and 4: what the job wrote to 5 and 6, 7: the agent's bell, 8: the other end of 9.

drain() { # stream: neither a full disk nor a flood may hurt the command that writes
  exec 3<&- 4<&- 5>&- 6>&- 7>&- 8<&- 9>&-
  ulimit -f "$((CAP / UNIT))"
  trap '' XFSZ
  cat >>"$J/$1" && exit
  : >"$J/$1.cut"; cat >/dev/null; exit 1
}

watchdog() { # milliseconds: ends the job's group even when nobody asks any more
  exec 3<&- 4<&- 5>&- 6>&- 7>&- 8<&- 9>&-
  late= before=$! tries=100
  # USR1: a TERM that came before this line would be lost in the trap that the supervisor had.
  # `$!`, not a name of ours: it may come between the start of the sleep and the next command.
  trap '[ -n "$late" ] || { [ "$!" = "$before" ] || kill -KILL "$!"; exit; }' USR1
  tick
  until=$((NOW + ($1 + 9) / 10))
  while tick; left=$(((until - NOW) * 10)); [ "$left" -gt 0 ]; do
    [ "$left" -le 5000 ] || left=5000 # not in one: nobody dismisses us when our supervisor was killed
    seconds "$left"
    sleep "$S" &
    wait "$!"
    before=$! # ended: its pid may be anybody's by now
    ! read -r where pid since <"$J/child" || alive "$pid" "$since" || exit 0
  done
  until [ -s "$J/child" ] || [ "$tries" = 0 ]; do nap; tries=$((tries - 1)); done
  late=1
  read -r where pid since <"$J/child" && alive "$pid" "$since" || exit 0
  : >"$J/late"
  end_group "$pid" 50
  exit 4 # on a full disk the file is not there to say so
}

become() { # the command's process: says who it is, for pid and start time outlive an exec
  trap - TERM INT HUP
  exec 3<&- 4<&- 5>&- 6>&- 7>&- 8<&- 9>&-
  born self
  # O_EXCL: who finds our supervisor dead and this file missing takes the name: then we never begin.
  set -C
  printf '%s %s %s\n' "$BOOT" "$PID" "$BORN" >"$J/child" || exit
  umask 022
  # shellcheck disable=SC2086
  exec $SESSION $SH "$J/cmd"
}

drained() { # CUT (1: out, 2: err), HELD: waits two seconds at most: a daemon may keep the stdout
  tries=0 clock= CUT=0 HELD=0 bit=0 # what is not read to its end here spoils the pipes for the next job
  # An ended one has no descriptors. Mostly both end at once, and a look costs less than a clock.
  while [ -e "/proc/$1/fd/0" ] || [ -e "/proc/$2/fd/0" ]; do
    tries=$((tries + 1))
    [ "$tries" -ge 60 ] || continue
    trap HELD=1 USR1 # rung again and again: one that comes just before `wait` is lost
    { sleep 2; while alive $$ "$SINCE" && kill -USR1 $$; do nap; done; } \
      </dev/null 3<&- 4<&- 7>&- 8<&- 9>&- &
    clock=$!; break
  done
  for one; do bit=$((bit + 1)); while [ "$HELD" = 0 ]; do
    wait "$one"
    case $? in 0) break ;; 1) CUT=$((CUT | bit)) && break ;; esac
    [ -e "/proc/$one/fd/0" ] || { CUT=$((CUT | bit)) LAST=1; break; } # somebody killed it
  done; done
  [ "$HELD" = 0 ] || LAST=1
  # A held drain tells no code. The next command gets USR1 as we had it, when nobody can send it any more.
  [ -z "$clock" ] || { trap '' USR1; kill -KILL "$clock"; wait "$clock"; trap - USR1; marked; }
}

dismiss() { # LATE: whether the watchdog ended the job; it ends with it
  late=0
  [ -n "$dog" ] || return 0
  ! ours "$dog" || kill -USR1 "$dog"
  wait "$dog"
  [ $? != 4 ] || late=1
}

finish() { # code: drained first, then the exit written where the disk already gave room
  out=0 err=0
  drained "$outs" "$errs" # held: the output goes on, the exit is known
  [ ! -s "$J/out" ] || out=$(wc -c <"$J/out")
  [ ! -s "$J/err" ] || err=$(wc -c <"$J/err")
  # A disk that refuses leaves no exit: lost is true, a code that was never written is not.
  printf '%s %s %s %s %s %s\n' "$1" "$((out))" "$((err))" "$CUT" "$late" "$HELD" 1<>"$J/exit" || LAST=1
  echo "$token ${LAST:+last }over" >&7
  exec 9>&-
  settle "$J/exit"
  [ -z "$LAST" ] || exit 0
}

refrain() { # [why]: the job does not begin; whoever waits is told
  # What could not be kept must not read as begun; the space kept for an exit is enough to say so.
  # In one step: a moment without `start` reads as a launcher that is still at work.
  [ -z "${1:-}" ] || {
    rm -f "$J/exit" "$J/cmd"
    printf '%s\n' "abandoned $1" >"$J/start.no" && mv -f "$J/start.no" "$J/start" || rm -f "$J/start"
  }
  echo "$token last over" >&7
  exit 3
}

supervise() { # one job
  outranked "$epoch" && { publish "$J/start" "abandoned fenced"; refrain; }
  exec 9>/proc/self/fd/8 # before `start`, or whoever waits on it would take us for dead
  # Losing this link means that somebody abandoned the job: it must not begin.
  publish "$J/start" "$BOOT $$ $SINCE $epoch $UTC" || { [ -e "$J/start" ] && refrain || refrain disk; }
  settle "$J/cmd" "$J/exit" "$J/start" "$J" "$R" || refrain disk
  echo "$token begins" >&7
  exec 5>/proc/self/fd/3 6>/proc/self/fd/4
  drain out <&3 & outs=$!
  drain err <&4 & errs=$!
  [ "$late" = 0 ] || { watchdog "$late" </dev/null & dog=$!; }
  # Waited for at once, so that the shell does not make it deaf to INT and QUIT, as it does with `&`.
  ( become ) </dev/null >&5 2>&6
  code=$?
  exec 5>&- 6>&-
  dismiss
  # Who could not say who it is did not begin: nobody could have ended it.
  read -r where rest <"$J/child" && [ "$where" = "$BOOT" ] || refrain disk
  finish "$code"
}

sup() { # base pipes sync session shell boot: until its agent is gone, or it has seen something odd
  B=$1 P=$2 SYNC=$3 SESSION=$4 SH=$5 FAKE_BOOT=$6 NONCE=sup count=0
  exec 2>/dev/null 7>&1 >/dev/null; cd /
  trap : TERM INT; trap '' HUP
  boot
  born self
  SINCE=$BORN
  # Each opened for both first: opening for reading alone would wait for a writer. We keep the reading
  # ends and make a writing end for each job; no names are left.
  exec 9<>"$P.o" 3<"$P.o" 9<>"$P.e" 4<"$P.e" 9<>"$P.d" 8<"$P.d" 9>&-
  rm -f "$P.w" "$P.o" "$P.e" "$P.d"
  while read -r run token epoch late DURABLE CAP UTC; do
    R=$B/$run J=$B/$run/$token dog= LAST=
    supervise
  done
}

[ "${1:-}" != sup ] || { shift; sup "$@"; exit; }

# ---- the agent: one a channel ------------------------------------------------------------------

weigh() { # OUT, ERR: what is there after all; what is not counts as cut
  real=$([ ! -e "$J/out" ] || wc -c <"$J/out")
  [ "$OUT" -le "$((real + 0))" ] || OUT=$((real + 0)) CUT=$((CUT | 1))
  real=$([ ! -e "$J/err" ] || wc -c <"$J/err")
  [ "$ERR" -le "$((real + 0))" ] || ERR=$((real + 0)) CUT=$((CUT | 2))
}

look() { # STATE of the job in $J, from its files
  STATE= CODE= WHY= CUT=0 LATE=0 OUT= ERR=
  # The whole line, or none: after a power cut the file may be there and what it says not.
  if [ -s "$J/exit" ] && read -r CODE OUT ERR CUT LATE HELD <"$J/exit" && number "$CODE" &&
    number "$OUT" && number "$ERR" && number "$HELD"; then
    STATE=exited
    # The last boot's exit may be on the disk, and not all of what the command printed.
    read -r where rest <"$J/start" && [ "$where" != "$BOOT" ] && [ -e "$J/cmd" ] && weigh
    return
  fi
  CODE= CUT=0 LATE=0 OUT= ERR=
  marked
  [ ! -e "$J/late" ] || LATE=1
  [ -d "$J" ] || { STATE=absent; return; }
  [ -e "$J/start" ] || { STATE=claimed; return; }
  read -r where pid since rest <"$J/start" || where=
  case $where in
  abandoned) STATE=abandoned WHY="$pid $since" ;;
  "$BOOT")
    if alive "$pid" "$since"; then STATE=running
    elif [ ! -e "$J/child" ]; then STATE=claimed WHY="its supervisor died"
    else heir; fi ;;
  *) STATE=lost WHY=reboot ;; # also an empty file: power went before it was on the disk
  esac
}
heir() { # STATE of a job whose supervisor is dead, from what its command said of itself
  [ -s "$J/child" ] || { nap; nap; } # made, and in a moment written: a moment of a busy host
  read -r where pid since <"$J/child" || where=
  if [ "$where" = abandoned ]; then STATE=abandoned WHY=$pid
  elif [ -n "$where" ] && alive "$pid" "$since"; then STATE=orphan
  else STATE=lost WHY=killed; fi
}
state() { # an exit is written before its supervisor dies: look again after a dead verdict
  look
  case $STATE in lost | orphan) look ;; esac
  :
}

answer() { # out-from err-from limit: the header, then exactly the bytes it announces
  [ -s "$J/out" ] || OUT=0
  [ -s "$J/err" ] || ERR=0
  [ -n "$OUT" ] || OUT=$(wc -c <"$J/out")
  [ -n "$ERR" ] || ERR=$(wc -c <"$J/err")
  o=$((OUT - $1)) e=$((ERR - $2))
  [ "$o" -ge 0 ] || o=0; [ "$o" -le "$3" ] || o=$3
  [ "$e" -ge 0 ] || e=0; [ "$e" -le "$3" ] || e=$3
  printf '\n%s state=%s boot=%s code=%s size=%s,%s send=%s,%s cut=%s late=%s why=%s\n' "$NONCE" \
    "$STATE" "$BOOT" "$CODE" "$((OUT))" "$((ERR))" "$o" "$e" "$CUT" "$LATE" "$WHY"
  part "$1" "$o" "$J/out"
  part "$2" "$e" "$J/err"
}
part() { # from size file
  [ "$2" -gt 0 ] || return
  if [ "$1" = 0 ]; then head -c "$2" "$3"; else tail -c +$(($1 + 1)) "$3" | head -c "$2"; fi
}
word() { printf '\n%s state=%s boot=%s why=%s\n' "$NONCE" "$1" "$BOOT" "$2"; }

hold() { # milliseconds: until the job is over, or that long
  tick
  until=$((NOW + $1 / 10))
  if [ "$token" = "$BUSY" ]; then
    begun=1
    listen "$1"
  elif [ "$STATE" = running ] && [ -p "/proc/$pid/fd/9" ]; then
    seconds "$1"
    # Opened for both first, so that opening for reading cannot block on a supervisor that is done. In
    # a subshell: there may be nothing to open any more, and a failing `exec` ends its shell.
    (exec 7<>"/proc/$pid/fd/9" 8<"/proc/$pid/fd/9" 7>&-; exec timeout "$S" cat <&8 >/dev/null)
  fi
  while state; do # a supervisor that was killed closes 9 while it still dies
    case $STATE in running | orphan) tick ;; *) return ;; esac
    [ "$NOW" -lt "$until" ] || return
    nap
  done
}

fill() { # size: the script, from `text` or from what follows the request; all of it or false
  if [ -n "$coded" ]; then printf %b "$text" >"$J/cmd"; return; fi
  head -c "$1" >"$J/cmd" && [ "$(wc -c <"$J/cmd")" -eq "$1" ]
}

unclaim() { # nobody was started: the token is free again, unless somebody abandoned it meanwhile
  rm -f "$J/cmd" "$J/witness" "$J/exit"
  if rmdir "$J"; then STATE=cannot-claim WHY="no room for a job in $R"; else state; fi
}

claim() { # epoch size witness: make the job's folder and fill it; false with STATE and WHY set
  mkdir "$J" || WHY=$(mkdir "$J" 2>&1) || {
    [ -n "$coded" ] || head -c "$2" >/dev/null
    if [ -d "$J" ]; then state; else STATE=cannot-claim; fi; return 1
  }
  # Room for the exit, which is written in place. Until then its first line is empty: no exit.
  if ! fill "$2" || ! printf '%s\n' "$3" >"$J/witness" || ! printf '\n%8190s\n' '' >"$J/exit"; then unclaim
  elif outranked "$1"; then publish "$J/start" "abandoned fenced"; STATE=fenced
  else return 0; fi
  return 1
}

lodge() { # TIER: scope, when systemd keeps our jobs apart from the session that we came by; else session
  [ -z "$TIER" ] || return 0
  TIER=session tries=200
  # Only root may ask, and asking goes over a bus that may be down, or hang: three seconds, once.
  [ -d "$SYSTEMD" ] && [ -w "$SYSTEMD" ] || return 0
  timeout -s KILL 3 busctl --timeout=3 call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
    org.freedesktop.systemd1.Manager StartTransientUnit 'ssa(sv)a(sa(sv))' "drrun-$NONCE.scope" fail \
    3 PIDs au 1 $$ CollectMode s inactive-or-failed Description s "jobs of drrun" 0 \
    </dev/null >/dev/null || return 0
  until lodged; do # it answers when it begins; a look costs less than a nap, and mostly it is there
    [ "$tries" -gt 0 ] || return 0
    [ "$tries" -gt 20 ] || nap
    tries=$((tries - 1))
  done
  TIER=scope
}
lodged() {
  while IFS= read -r part; do case $part in */drrun-"$NONCE".scope) return 0 ;; esac; done </proc/self/cgroup
  return 1
}

bell() { # descriptor 6, once: a pipe without a name that supervisors ring, and the clock
  [ -z "$BELL" ] || return 0
  lodge
  mkfifo "$B/bell.$NONCE" && exec 6<>"$B/bell.$NONCE" && BELL=1
  rm -f "$B/bell.$NONCE"
  # A shell starts what it does not wait for deaf to INT and QUIT, and under nohup all is deaf to HUP; no
  # shell can undo that by itself.
  env --default-signal=INT,QUIT,HUP true && PLAIN="env --default-signal=INT,QUIT,HUP "
  [ -n "$BELL" ] && UTC=$(date -u +%s) && tick && UTC=$((UTC - NOW / 100))
}

hire() { # SUP: a supervisor that waits for orders on descriptor 5; the last one, if it does
  [ -z "$BUSY" ] && [ -n "$SUP" ] && [ -e "/proc/$SUP/fd/0" ] && return
  leave
  hired=$((hired + 1)) P=$B/hire.$NONCE.$hired
  mkfifo "$P.w" "$P.o" "$P.e" "$P.d" || { rm -f "$P.w" "$P.o" "$P.e" "$P.d"; return 1; }
  exec 5<>"$P.w"
  # shellcheck disable=SC2086
  $PLAIN$SESSION $SH "$A" sup "$B" "$P" "$SYNC" "$SESSION" "$SH" "$BOOT" <"$P.w" >&6 5>&- 6>&- &
  SUP=$!
}
leave() { exec 5>&-; SUP= BUSY=; } # it ends with the job that it has

listen() { # milliseconds: until the job that our supervisor has is over, or that long; to its begin at least
  until=$((NOW + $1 / 10))
  while :; do
    # One clock for all the launches of its time, not one each.
    [ -n "$CLOCK" ] || { CLOCK=1; { sleep 0.5 || sleep 1; echo "clock rings" >&6; } </dev/null >/dev/null 5>&- & }
    read -r who what <&6
    case "$who $what" in
    "$BUSY over") BUSY=; return ;;
    "$BUSY last over") leave; return ;;
    "$BUSY begins") begun=1; [ "$1" -gt 0 ] || return ;;
    "clock rings")
      CLOCK=
      born "$SUP" && [ "$PARENT" = $$ ] || { leave; return; }
      tick
      [ -z "$begun" ] || [ "$NOW" -lt "$until" ] || return ;;
    esac
  done
}

launch() { # epoch timeout-ms durable cap size witness [wait-ms coding], then the script
  DURABLE=$3 holder= rest= text= coded=
  [ "${8:-raw}" = raw ] || { IFS= read -r text && [ ${#text} = "$5" ] || exit; coded=1; }
  [ -d "$R" ] || mkdir -p "$R"
  if outranked "$1"; then STATE=fenced
  elif ! read -r holder rest <"$B/lock" || [ "$holder" != "$run" ]; then
    STATE=fenced WHY="this run does not hold the host's lock: ${holder:-nobody does} $rest"
  elif [ ! -r "$A" ]; then STATE=cannot-claim WHY="no agent"
  elif [ -z "$SESSION" ]; then STATE=cannot-claim WHY="no setsid on this host"
  elif ! bell || ! hire; then STATE=cannot-claim WHY="cannot make a pipe in $B"
  fi
  if [ -n "$STATE" ]; then [ -n "$coded" ] || head -c "$5" >/dev/null
  elif claim "$1" "$5" "$6"; then
    tick
    echo "$run $token $1 $2 $3 $4 $((UTC + NOW / 100))" >&5
    BUSY=$token begun=
    listen "${7:-0}"
    state
  fi
  answer 0 0 524288
}

stop() { # grace-ms
  tries=20
  state
  while [ "$STATE" = running ] && [ ! -s "$J/child" ] && [ "$tries" -gt 0 ]; do
    nap; tries=$((tries - 1)); state
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
  if outranked "$1"; then STATE=fenced
  else
    for try in 1 2; do # twice: a launcher without room may take its claim back in between
      mkdir -p "$J"
      publish "$J/start" "abandoned $1" || :
      [ ! -e "$J/start" ] || break
    done
    state
    # Begun, says `start`, but its supervisor died first: the name that its command would take.
    [ "$STATE" != claimed ] || { never "$1" && state; }
    settle "$J/start" "$J/child" "$J" "$R" || :
  fi
  answer 0 0 0
}
never() ( # epoch: false when the command was first
  set -C
  printf '%s\n' "abandoned $1" >"$J/child"
)

ack() { # further tokens: one rm for all of them; the answer tells the last one's state
  tokens="$token $*"
  set --
  for token in $tokens; do
    J=$R/$token
    state
    case $STATE in exited | lost | abandoned) set -- "$@" "$J/cmd" "$J/out" "$J/err" "$J"/*.cut \
      "$J/late" "$J"/start.* ;; esac
    case $STATE in lost | abandoned) set -- "$@" "$J/exit" ;; esac
  done
  [ $# = 0 ] || rm -f "$@"
  answer 0 0 0
}

fence() { # epoch holder: raise the run's epoch, then take the host's lock
  mkdir -p "$R/fence" || { word failed "cannot write $R"; return; }
  if ! publish "$R/fence/$1" "$2" firm; then
    owner=
    [ ! -e "$R/fence/$1" ] || read -r owner <"$R/fence/$1"
    [ -n "$owner" ] || { word failed "cannot write $R/fence/$1"; return; }
    [ "$owner" = "$2" ] || { word fenced "epoch $1 belongs to $owner"; return; }
  fi
  outranked "$1" && { word fenced "a higher epoch was published"; return; }
  mine="$run $1 $2 $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  publish "$B/lock" "$mine" firm || {
    holder=
    [ ! -e "$B/lock" ] || read -r holder rest <"$B/lock"
    [ -z "$holder" ] || [ "$holder" = "$run" ] || { word locked "$holder $rest"; return; }
    # Ours, of an older epoch: replaced whole.
    [ -n "$holder" ] && printf '%s\n' "$mine" >"$B/lock.$NONCE" && settle "$B/lock.$NONCE" &&
      mv -f "$B/lock.$NONCE" "$B/lock" || { word failed "cannot write $B/lock"; return; }
  }
  rm -f "$B"/lock."$NONCE".* "$R/fence/"*."$NONCE".*
  settle "$R/fence" "$R" "$B" || { word failed "the disk did not keep $B/lock"; return; }
  lodge
  word held "$TIER"
}

release() { # epoch: moved aside before it is judged, so that a newer lock is never taken for ours
  if ours_to_give "$B/lock" "$1" && ! outranked "$1" && mv "$B/lock" "$B/lock.$NONCE.r"; then
    ours_to_give "$B/lock.$NONCE.r" "$1" || ln "$B/lock.$NONCE.r" "$B/lock"
    rm -f "$B/lock.$NONCE.r"
  fi
  word released ""
}

ours_to_give() { # file epoch: a lock of this run, and of no later epoch
  read -r holder rank rest <"$1" && [ "$holder" = "$run" ] && number "$rank" && [ "$rank" -le "$2" ]
}

# ---- gc: what a run that is over left behind; every name is spelled, nothing is removed below it ---

over() { # [dry]: may this job be forgotten? A claim that nobody works on is abandoned first
  state
  if [ "$STATE" = claimed ] && [ -z "${1:-}" ]; then
    if [ -e "$J/start" ]; then never gc; else publish "$J/start" "abandoned gc"; fi
    state
  fi
  case $STATE in exited | lost | abandoned) ;; claimed) [ -n "${1:-}" ] ;; *) return 1 ;; esac
}

sweep() { # epoch [dry]: refused while the run holds the host, or anything of it may still run
  [ -d "$R" ] || { word absent ""; return; }
  outranked "$1" && { word fenced "a higher epoch was published"; return; }
  holder=
  read -r holder rest <"$B/lock" || holder=
  [ "$holder" != "$run" ] || { word locked "$holder $rest"; return; }
  jobs=0
  for J in "$R"/c-*; do
    [ -d "$J" ] || continue
    jobs=$((jobs + 1))
    over "${2:-}" || { word busy "${J##*/} is $STATE"; return; }
  done
  kib=$(du -sk "$R")
  kib=${kib%%[!0-9]*}
  [ -z "${2:-}" ] || { word found "jobs=$jobs kib=$kib"; return; }
  for J in "$R"/c-*; do
    rm -f "$J/cmd" "$J/witness" "$J/start" "$J"/start.* "$J/child" "$J/exit" "$J/late" "$J/out" \
      "$J/err" "$J"/*.cut
    rmdir "$J"
  done
  rm -f "$R/fence"/[0-9]*
  rmdir "$R/fence" "$R"
  if [ -d "$R" ]; then word failed "what is left in $R is not drrun's, or cannot be removed"
  else word swept "jobs=$jobs kib=$kib"; fi
}

read_by_somebody() { # script: `read` drops the zeros between the words of a command line
  for line in /proc/[0-9]*/cmdline; do
    words=
    read -r words <"$line"
    case $words in *"$1"*) return 0 ;; esac
  done
  return 1
}

strays() { # [dry]: agents of other versions, while no run holds the host and no supervisor reads one
  names=
  [ -e "$B/lock" ] || for one in "$B"/agent-*.sh; do
    [ -f "$one" ] && [ "$one" != "$A" ] || continue
    ! read_by_somebody "$one" || continue
    [ -n "${1:-}" ] || rm -f "$one"
    names="$names ${one##*/}"
  done
  # Pipes lose their names at once; who was killed in that moment left them.
  [ -e "$B/lock" ] || [ -n "${1:-}" ] || rm -f "$B"/hire.* "$B"/bell.*
  word strays "${names# }"
}

install() { # size: this very text, for supervisors; the name is its content
  mkdir -p "$B" && head -c "$1" >"$A.$NONCE" && [ "$(wc -c <"$A.$NONCE")" -eq "$1" ] &&
    settle "$A.$NONCE" && mv -f "$A.$NONCE" "$A" && { word installed ""; return; }
  rm -f "$A.$NONCE"
  word failed "cannot write $A"
}

serve() { # nonce base sha: answer requests, one at a time, until stdin ends
  NONCE=$1 B=$2 A=$2/agent-$3.sh count=0 hired=0 SUP= BUSY= BELL= CLOCK= UTC= PLAIN= TIER=
  SYSTEMD=${DRRUN_SYSTEMD:-/run/systemd/system} # the variable is for tests
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
    ack) ack "$@" ;;
    fence) fence "$token" "$rest" ;;
    release) release "$token" ;;
    sweep) sweep "$token" "$@" ;;
    strays) strays "$@" ;;
    install) install "$token" ;;
    *) word failed "no such verb" ;;
    esac
  done
}
