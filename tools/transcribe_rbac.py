#!/usr/bin/env python3
"""Writes api/rbac_bootstrap.policy from the facts table of the bootstrap RBAC objects.

Usage: tools/transcribe_rbac.py ../shared/facts/rbac-bootstrap.txt > api/rbac_bootstrap.policy
Objects and rules behind a feature gate that is off by default are left out.
"""
import re
import sys

CONTROLLER = "system:controller:"


def rule(line):
    fields = {"V": "", "G": "", "R": "", "N": "", "U": ""}
    for key, value in re.findall(r"([VGRNU]):(\S+)", line):
        fields[key] = value
    words = [f"verbs={fields['V']}"]
    names = (("groups", "G"), ("resources", "R"), ("names", "N"), ("urls", "U"))
    for word, key in names:
        if fields[key]:
            words.append(f"{word}={fields[key].replace(chr(34) * 2, 'core')}")
    return "  rule " + " ".join(words)


def subjects(text):
    out = []
    for part in text.split(";"):
        match = re.match(r"\s*(U|G|SA) (\S+)", part)
        if match:
            kind = {"U": "User", "G": "Group", "SA": "ServiceAccount"}[match[1]]
            out.append(f"  subject {kind} {match[2]}")
    return out


def main(path):
    print("# The RBAC objects that every cluster starts with. Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy.")
    print("# clusterrole|role NAME [label=K=V] [aggregate=K=V], then its rules; clusterrolebinding|rolebinding NAME ROLE, then")
    print("# its subjects. Group \"core\" is the empty group. Names of roles and rolebindings are namespace/name.")
    skip = False
    for line in open(path):
        line = line.rstrip()
        match = re.match(r"^(\+\[\w+\] )?(CR|R|CRB|RB) (\S+)(.*)$", line)
        if match:
            gate, kind, name, rest = match.groups()
            skip = bool(gate) or "+[" in rest
            if skip:
                continue
            if kind in ("CR", "R"):
                label = re.search(r"label (\S+)", rest)
                aggregate = re.search(r"aggregate (\S+)", rest)
                words = ["clusterrole" if kind == "CR" else "role", name]
                words += [f"label={label[1]}"] if label else []
                words += [f"aggregate={aggregate[1]}"] if aggregate else []
                print(" ".join(words))
                if kind == "CR" and name.startswith(CONTROLLER):
                    bound.append(name)
            else:
                role, who = re.match(r" -> (\S+?): (.*)$", rest).groups()
                print(("clusterrolebinding" if kind == "CRB" else "rolebinding") + f" {name} {role}")
                for subject in subjects(who):
                    print(subject)
        elif line.startswith("  V:") and not skip:
            print(rule(line))
    for name in bound:
        print(f"clusterrolebinding {name} {name}")
        print(f"  subject ServiceAccount kube-system/{name[len(CONTROLLER):]}")


bound = []
main(sys.argv[1])
