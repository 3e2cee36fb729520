"""Every message between actors and processes: a module a conversation, here in the order of a line's path.

    terms          who, which stream, how long a word may be: what all the others are made of
    lines          collector, spool: lines and batches
    syscheck       what syscheck sees on a host, in the text of lines
    agent_link     agent and manager: the native protocol
    response       agent and manager: what to do about an attacker
    joining        how a machine becomes an agent
    evaluation     main and a worker: a batch, and what came of it
    rule_table     nursery and lane: a ruleset without its patterns
    lane           main and the lane, and its actors: correlate, commit
    baseline       what is known of files, and what people do with it
    outputs        the outbox and its readers
    keeping        archive and keeper
    responder      main and the responder
    legacy         main and the process that speaks with old agents
    nursery        main and the nursery
    supervision    how processes are

All are frozen and cross process boundaries as msgpack. Times are whole milliseconds since the epoch, UTC (`*_ms`),
unless a name says otherwise. Positional structs (`array_like`) are those of which there are many: new fields go last
and have defaults, so that an older peer keeps working. Callers import from the modules.
"""
