r"""A small, strict reader of YAML for the host's side: manifests of static pods, kubelet's settings.

Hosts have no Python; they have awk. `flat FILE` prints a line for each scalar: its path, a tab, its value.
Rule 1: what is not understood is refused by its name and line, never passed over: a setting that was read
wrongly is a directory that is believed to be empty.
Rule 2: values are text. In them a backslash, a line feed and a tab are written `\\`, `\n` and `\t`.
Source: YAML 1.2; what kubelet reads is YAML or JSON (k8s.io/apimachinery/pkg/util/yaml).
"""

from __future__ import annotations

FLAT = r"""
flat() { # FILE: PATH<tab>VALUE of every scalar; exit 3 and a reason where something is not understood
  LC_ALL=C awk '
  function fail(what) { if (!failed) printf "drrun: %s:%d: %s is not understood here\n", FILENAME, i, what >"/dev/stderr"; failed = 1; exit 3 }
  function indent(s) { match(s, /^ */); return RLENGTH }
  function blanks(k,   s) { while (length(s) < k) s = s " "; return s } # sprintf of mawk ends at 8 kB
  function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t\r]+$/, "", s); return s }
  function next_line() { # to the next line that says something
    while (i <= n && L[i] ~ /^[ \t\r]*(#.*)?$/) i++
    if (i <= n && L[i] ~ /^ *\t/) fail("a tab as indentation")
    if (i <= n && L[i] ~ /^(---|\.\.\.)([ \t\r]|$)/) fail("a second document")
    return i <= n
  }
  function emit(path, v,   s, c, k) {
    s = v
    if (v ~ /[\\\n\t]/) { # awks differ in what gsub makes of a backslash
      s = ""
      for (k = 1; k <= length(v); k++) {
        c = substr(v, k, 1)
        s = s (c == "\\" ? "\\\\" : c == "\n" ? "\\n" : c == "\t" ? "\\t" : c)
      }
    }
    out = out path "\t" s "\n"
  }
  function key_of(s,   c) { # length of the key that s begins with, its colon counted; 0: no key
    c = substr(s, 1, 1)
    if (c == "\"") {
      if (!match(s, /^"([^"\\]|\\.)*" *:/)) return 0
      return substr(s, RLENGTH + 1) ~ /^([ \t\r]|$)/ ? RLENGTH : 0
    }
    if (c == "\047") {
      if (!match(s, /^\047[^\047]*\047 *:/)) return 0
      return substr(s, RLENGTH + 1) ~ /^([ \t\r]|$)/ ? RLENGTH : 0
    }
    if (index("[{#&*!|>%@`,", c)) return 0
    if (!match(s, /:([ \t\r]|$)/)) return 0
    c = substr(s, 1, RSTART - 1)
    if (index(c, " #")) return 0
    return RSTART
  }
  function unquoted_key(s) {
    s = trim(s)
    if (s ~ /^"/) return unescaped(substr(s, 2, length(s) - 2))
    if (s ~ /^\047/) return substr(s, 2, length(s) - 2)
    if (s == "<<") fail("a merge key (<<)")
    return s
  }
  function node(ind, path, outer,   s, c) { # a block node whose first line is i, at column ind, inside outer
    s = substr(L[i], ind + 1); c = substr(s, 1, 1)
    if (s ~ /^-([ \t\r]|$)/) sequence(ind, path)
    else if (s ~ /^\?([ \t\r]|$)/) fail("a complex key (?)")
    else if (key_of(s)) mapping(ind, path)
    else value(s, outer, path)
  }
  function mapping(ind, path,   s, k, name) {
    while (next_line() && indent(L[i]) == ind) {
      s = substr(L[i], ind + 1)
      k = key_of(s)
      if (!k) fail(s ~ /^-/ ? "an item beside keys" : "a line that is no key")
      name = path == "" ? unquoted_key(substr(s, 1, k - 1)) : path "." unquoted_key(substr(s, 1, k - 1))
      if (name in seen) fail("a key that is there twice")
      seen[name] = 1
      value(substr(s, k + 1), ind, name)
    }
    if (i <= n && indent(L[i]) > ind) fail("this indentation")
  }
  function sequence(ind, path,   s, at, number) {
    number = 0
    while (next_line() && indent(L[i]) == ind && substr(L[i], ind + 1) ~ /^-([ \t\r]|$)/) {
      s = substr(L[i], ind + 2); match(s, /^[ \t]*/); at = ind + 1 + RLENGTH
      if (index(substr(s, 1, RLENGTH), "\t")) fail("a tab as indentation")
      s = substr(s, RLENGTH + 1)
      if (s == "" || s ~ /^(#|\r)/) { value("", ind, path "[" number "]") }
      else { L[i] = blanks(at) s; node(at, path "[" number "]", ind) }
      number++
    }
  }
  function value(s, ind, path,   c) { # what stands behind a key or a dash at column ind
    s = trim(s); c = substr(s, 1, 1)
    if (s == "" || c == "#") {
      i++
      if (next_line() && (indent(L[i]) > ind || (indent(L[i]) == ind && substr(L[i], ind + 1) ~ /^-([ \t\r]|$)/ && path !~ /\]$/)))
        node(indent(L[i]), path, ind)
      else emit(path, "")
    }
    else if (c == "&") fail("an anchor (&)")
    else if (c == "*") fail("an alias (*)")
    else if (c == "!") fail("a tag (!)")
    else if (c ~ /[%@`]/) fail("a value that begins with " c)
    else if (c == "|" || c == ">") block(s, ind, path)
    else if (c == "[" || c == "{") { B = s; P = 1; flow(path); rest_is_blank() }
    else if (c == "\"" || c == "\047") { B = s; P = 1; emit(path, quoted()); rest_is_blank() }
    else plain(s, ind, path)
  }
  function plain(s, ind, path,   v) {
    v = s
    if (match(v, /[ \t]#/)) { v = trim(substr(v, 1, RSTART - 1)); i++ }
    else {
      i++
      while (i <= n && L[i] !~ /^[ \t\r]*$/ && indent(L[i]) > ind && trim(L[i]) !~ /^#/) {
        if (key_of(trim(L[i]))) fail("a key inside of a value")
        v = v " " trim(L[i])
        if (match(v, /[ \t]#/)) { v = trim(substr(v, 1, RSTART - 1)); i++; break }
        i++
      }
    }
    if (match(v, /:([ \t]|$)/)) fail("a colon inside of a value")
    emit(path, v == "~" || v == "null" ? "" : v)
  }
  function block(s, ind, path,   fold, keep, at, v, gap) {
    fold = substr(s, 1, 1) == ">"; s = substr(s, 2); sub(/[ \t]+#.*$/, "", s)
    if (s !~ /^[-+]?$/) fail("the sign " s " of a block of text")
    keep = s; v = ""; gap = ""; at = -1; i++
    for (; i <= n; i++) {
      if (L[i] ~ /^[ \t\r]*$/) { gap = gap "\n"; continue }
      if (indent(L[i]) <= ind) break
      if (at < 0) { at = indent(L[i]); v = gap substr(L[i], at + 1) }
      else {
        if (indent(L[i]) < at) fail("this indentation in a block of text")
        if (fold && (indent(L[i]) > at || gap != "")) fail("a folded text (>) with more than one paragraph")
        v = v (fold ? " " : "\n" gap) substr(L[i], at + 1)
      }
      gap = ""
    }
    if (keep == "+") v = v "\n" gap
    else if (keep == "" && at >= 0) v = v "\n"
    gsub(/\r/, "", v); emit(path, v)
  }
  function more() { # the buffer goes on on the next line
    i++
    if (i > n) fail("a collection or a quote that does not end")
    B = B "\n" L[i]
  }
  function skip(   c) {
    while (1) {
      if (P > length(B)) { more(); continue }
      c = substr(B, P, 1)
      if (c == "#" && substr(B, P - 1, 1) ~ /[ \t\n]/) { while (P <= length(B) && substr(B, P, 1) != "\n") P++ }
      else if (c ~ /[ \t\r\n]/) P++
      else return c
    }
  }
  function rest_is_blank(   s) {
    s = substr(B, P)
    if (s !~ /^[ \t\r]*$/ && s !~ /^[ \t]+#/) fail("what follows a closed value")
    i++
  }
  function quoted(   q, v, c, gap) { # the scalar at P; behind it when done
    q = substr(B, P, 1); v = ""; P++
    while (1) {
      if (P > length(B)) { # line feeds are a space, empty lines are line feeds
        sub(/[ \t\r]+$/, "", v); gap = -1
        while (P > length(B)) { more(); gap++; while (P <= length(B) && substr(B, P, 1) ~ /[ \t\r\n]/) P++ }
        if (!gap) v = v " "
        while (gap-- > 0) v = v "\n"
        continue
      }
      c = substr(B, P, 1)
      if (c == q) {
        if (q == "\047" && substr(B, P + 1, 1) == q) { v = v q; P += 2; continue }
        P++; return q == "\"" ? unescaped(v) : v
      }
      if (c == "\\" && q == "\"" && P == length(B)) { # the line feed is escaped
        P++; more(); P++
        while (P <= length(B) && substr(B, P, 1) ~ /[ \t]/) P++
        continue
      }
      if (c == "\\" && q == "\"") { v = v substr(B, P, 2); P += 2; continue }
      v = v c; P++
    }
  }
  function unescaped(s,   v, c, k) {
    v = ""
    for (k = 1; k <= length(s); k++) {
      c = substr(s, k, 1)
      if (c != "\\") { v = v c; continue }
      k++; c = substr(s, k, 1)
      if (c == "n") v = v "\n"; else if (c == "t") v = v "\t"
      else if (c == "\"" || c == "\\" || c == "/" || c == " ") v = v c
      else fail("the escape \\" c)
    }
    return v
  }
  function bare(   v, c) { # a plain scalar inside of a flow collection
    v = ""
    while (1) {
      if (P > length(B)) { more(); continue }
      c = substr(B, P, 1)
      if (index(",]}[{", c)) break
      if (c == ":" && (P == length(B) || index(" \t\r\n,]}", substr(B, P + 1, 1)))) break
      if (c == "#" && substr(B, P - 1, 1) ~ /[ \t\n]/) break
      v = v c; P++
    }
    gsub(/[ \t\r]*\n[ \t]*/, " ", v); v = trim(v)
    if (v != "" && index("&*!%@`|>?", substr(v, 1, 1))) fail("a value that begins with " substr(v, 1, 1))
    return v
  }
  function flow(path,   c, number, name) { # the collection or scalar at P
    c = skip()
    if (c == "[") {
      P++; number = 0
      while ((c = skip()) != "]") {
        flow(path "[" number "]"); number++
        c = skip()
        if (c == ",") P++
        else if (c != "]") fail("a pair in a list")
      }
      P++
    } else if (c == "{") {
      P++
      while ((c = skip()) != "}") {
        name = c == "\"" || c == "\047" ? quoted() : bare()
        if (name == "<<") fail("a merge key (<<)")
        name = path == "" ? name : path "." name
        if (name in seen) fail("a key that is there twice")
        seen[name] = 1
        c = skip()
        if (c == ":") { P++; c = skip(); if (c == "," || c == "}") emit(name, ""); else flow(name) }
        else if (c == "," || c == "}") fail("a key without a value")
        c = skip()
        if (c == ",") P++
        else if (c != "}") fail("this collection")
      }
      P++
    } else if (c == "\"" || c == "\047") emit(path, quoted())
    else if (index(",]}", c)) fail("an empty item")
    else { name = bare(); emit(path, name == "null" || name == "~" ? "" : name) }
  }
  { L[++n] = $0 }
  END {
    if (failed) exit 3
    sub(/^\357\273\277/, "", L[1]); i = 1
    while (i <= n && L[i] ~ /^[ \t\r]*(#.*)?$/) i++
    if (i <= n && L[i] ~ /^%/) fail("a directive (%)")
    if (i <= n && L[i] ~ /^---[ \t\r]*(#.*)?$/) i++
    else if (i <= n && L[i] ~ /^---/) fail("a value behind ---")
    if (i <= n && n > 0) {
      for (last = n; last > i && L[last] ~ /^([ \t\r]*(#.*)?|---[ \t\r]*|\.\.\.[ \t\r]*)$/; last--)
        if (L[last] ~ /^(---|\.\.\.)/) n = last - 1 # the end of the document; what may be text above it stays
      if (next_line()) { node(indent(L[i]), "", -1); if (!failed && next_line()) fail("what follows the document") }
    }
    if (failed) exit 3
    printf "%s", out
  }' "$1"
}
"""
