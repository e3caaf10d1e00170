"""What the server does for the queue in one step.

A message is an entry of the stream `messages`, delivered through its one consumer group, so that the group's list of pending entries
counts its deliveries. Beside it:

- `leases`: sorted set, entry -> when its receiver's lease ends (ms of the server's clock). Leases differ, so idle times would not do.
- `due`: sorted set, when something is to become visible: ``=entry`` that was given back, ``+entry`` of `later` that was never visible.
- `later`: stream of messages that are not visible yet: those with a delay, and those behind an unsettled one with their key.
- `lines`: sorted set of equal scores, so in the order of its members: digest of a key, place in line, entry of `later`.
- `heads`: hash of the keys that have an unsettled message outside their line.
- `marks`: hash of what is special about pending entries: ``entry`` -> deliveries that do not count, ``!entry`` -> a lease ended.
- `wake`: stream of one entry, appended to whenever a waiting receiver should look again; reading it takes nothing from anybody.
- `dead`: stream of dead letters.

Scripts are all or nothing: a server that cannot write refuses before the first write, and the append-only file has them as one. A server
whose memory is full refuses only those that begin with what takes memory: those of receivers do not, since they alone free it.
A delivery is known by its entry, its receiver and the group's count of deliveries, which only grows: whoever lost it cannot settle it.
"""

from __future__ import annotations

from typing import Final

from infra_redis.scripting import Script

#: The consumer group.
GROUP: Final = "infra"
#: Seconds for which the server remembers up to which number a lane came.
REMEMBERED: Final = 3600

#: The parts of a queue, in the order in which every script gets their keys.
PARTS: Final = ("messages", "leases", "due", "later", "lines", "heads", "marks", "wake", "dead")

_COMMON: Final = """
local MESSAGES, LEASES, DUE, LATER, LINES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local HEADS, MARKS, WAKE, DEAD, GROUP = KEYS[6], KEYS[7], KEYS[8], KEYS[9], 'infra'
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local news = false
local STALE = 'STALE it was given up, or came twice'

local function stands_at(lane)
    return tonumber(string.match(call('GET', lane) or '0', '^%d+'))
end

local function tell()
    if news then call('XADD', WAKE, 'MAXLEN', 1, '*', 'news', '') end
end

local function add(stream, id, body, about, due, key)
    local fields = {'id', id, 'body', body, 'about', about}
    if due then fields[7], fields[8] = 'due', due end
    if key ~= '' then
        fields[#fields + 1] = 'key'
        fields[#fields + 1] = string.sub(key, 2)
    end
    return call('XADD', stream, '*', unpack(fields))
end

-- Takes an entry out of LATER: id, body, about, due, key.
local function take(entry)
    local found = call('XRANGE', LATER, entry, entry)[1]
    if not found then return nil end
    call('XDEL', LATER, entry)
    local fields = found[2]
    return fields[2], fields[4], fields[6], fields[8], fields[10] and '=' .. fields[10] or ''
end

local function place(id, body, about, due, key)
    news = true
    if due ~= '' and tonumber(due) > now then
        call('ZADD', DUE, due, '+' .. add(LATER, id, body, about, due, key))
    else
        add(MESSAGES, id, body, about, nil, key)
    end
end

local function position(key, entry)
    local ms, count = string.match(entry, '^(%d+)%-(%d+)$')
    return redis.sha1hex(key) .. string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #count) .. count .. ':' .. entry
end

local function put(id, body, about, due, key)
    if key ~= '' and call('HSETNX', HEADS, key, 1) == 0 then
        call('ZADD', LINES, 0, position(key, add(LATER, id, body, about, due, key)))
    else
        place(id, body, about, due, key)
    end
end

-- The message of this key that was not in line is settled: the next one comes out.
local function advance(key)
    if key == '' then return end
    local digest = redis.sha1hex(key)
    while true do
        local first = call('ZRANGEBYLEX', LINES, '[' .. digest, '(' .. digest .. ';', 'LIMIT', 0, 1)[1]
        if not first then
            call('HDEL', HEADS, key)
            return
        end
        call('ZREM', LINES, first)
        local id, body, about, due = take(string.match(first, ':(.*)$'))
        if id then return place(id, body, about, due, key) end
    end
end

local function pending(entry)
    return call('XPENDING', MESSAGES, GROUP, entry, entry, 1)[1]
end

local function uncounted(entry, count)
    return count > 1 and tonumber(call('HGET', MARKS, entry) or 0) or 0
end

local function remove(entry, count)
    call('XACK', MESSAGES, GROUP, entry)
    call('XDEL', MESSAGES, entry)
    call('ZREM', LEASES, entry)
    if count > 1 then call('HDEL', MARKS, entry, '!' .. entry) end
end
"""


#: Deletes nothing, and so is allowed to a server without memory; after a first write it allows all others.
_WITHOUT_MEMORY: Final = "call('HDEL', MARKS, '')"


def _script(source: str) -> Script:
    return Script(_COMMON + source)


#: KEYS: the parts. Changes nothing, and fails on a server that takes no writes.
WRITE: Final = _script(_WITHOUT_MEMORY)
#: The same, also where its memory is full.
STORE: Final = _script("call('HINCRBY', MARKS, '', 0)\ncall('HDEL', MARKS, '')")

#: KEYS: the parts, where the lane stands, deduplication keys. ARGV: number of the batch, window in ms, then for each message: when due
#: (ms) or nothing, ``=key`` or nothing, which of the deduplication keys or 0, id, body, about. Gives the numbers of the duplicates.
SEND: Final = _script(f"""
if call('EXISTS', MESSAGES) == 0 then return redis.error_reply('NOGROUP there is no such queue') end
if stands_at(KEYS[10]) >= tonumber(ARGV[1]) then return redis.error_reply(STALE) end
local doubles = {{}}
for at = 3, #ARGV, 6 do
    local key = tonumber(ARGV[at + 2])
    if key > 0 and not call('SET', KEYS[10 + key], ARGV[at + 3], 'PX', ARGV[2], 'NX') then
        doubles[#doubles + 1] = (at - 3) / 6
    else
        put(ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at], ARGV[at + 1])
    end
end
call('SET', KEYS[10], ARGV[1] .. ' ' .. table.concat(doubles, ' '), 'EX', {REMEMBERED})
tell()
return doubles
""")

#: KEYS: where the lane stands. ARGV: the number of a batch of which nothing is known. Gives the numbers of its duplicates when it came;
#: else nothing, and it can no longer come.
RESOLVE: Final = Script(f"""
local stands = redis.call('GET', KEYS[1])
if stands then
    local number, doubles = string.match(stands, '^(%d+) ?(.*)$')
    if tonumber(number) == tonumber(ARGV[1]) then return doubles end
    if tonumber(number) > tonumber(ARGV[1]) then return false end
end
redis.call('SET', KEYS[1], string.format('%.0f', ARGV[1] + 1), 'EX', {REMEMBERED})
return false
""")

#: KEYS: the parts, where the lane stands. ARGV: receiver, the most, lease in ms, number of the claim. Gives the deliveries: entry, count,
#: attempt, whether a lease ended, fields; and when there is none, in how many ms something becomes visible (-1: nothing known), and the
#: last entry of `wake`.
CLAIM: Final = _script(f"""
if stands_at(KEYS[10]) >= tonumber(ARGV[4]) then return redis.error_reply(STALE) end
{_WITHOUT_MEMORY}
local most, ends = tonumber(ARGV[2]), now + tonumber(ARGV[3])
local found = {{}}

local function hand(entry, fields, count, abandoned)
    call('ZADD', LEASES, ends, entry)
    found[#found + 1] = {{entry, count, count - uncounted(entry, count), abandoned, fields}}
end

local function again(entry, abandoned)
    local was = pending(entry)
    local got = was and call('XCLAIM', MESSAGES, GROUP, ARGV[1], 0, entry)[1]
    if got then
        hand(entry, got[2], was[4] + 1, abandoned)
    else
        remove(entry, 2)  -- somebody has deleted it from the stream
    end
end

for _, entry in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, most)) do
    call('HSET', MARKS, '!' .. entry, 1)
    again(entry, 1)
end
if #found < most then
    for _, member in ipairs(call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, most - #found)) do
        call('ZREM', DUE, member)
        local entry = string.sub(member, 2)
        if string.sub(member, 1, 1) == '=' then
            again(entry, call('HEXISTS', MARKS, '!' .. entry))
        else
            local id, body, about, _, key = take(entry)
            if id then add(MESSAGES, id, body, about, nil, key) end
        end
    end
end
if #found < most then
    local read = call('XREADGROUP', 'GROUP', GROUP, ARGV[1], 'COUNT', most - #found, 'STREAMS', MESSAGES, '>')
    if read then
        for _, entry in ipairs(read[1][2]) do hand(entry[1], entry[2], 1, 0) end
    end
end
if #found > 0 then
    local entries = {{ARGV[4]}}
    for number, one in ipairs(found) do entries[number + 1] = one[1] .. '/' .. one[2] end
    call('SET', KEYS[10], table.concat(entries, ' '), 'EX', {REMEMBERED})
    return {{found}}
end

local coming = -1
for _, key in ipairs({{LEASES, DUE}}) do
    local at = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if at and (coming < 0 or at - now < coming) then coming = math.max(0, at - now) end
end
local last = call('XREVRANGE', WAKE, '+', '-', 'COUNT', 1)[1]
return {{found, coming, last and last[1] or '0-0'}}
""")

#: KEYS: the parts, where the lane stands. ARGV: receiver, number of a claim without an answer. Gives back what it took, uncounted; when
#: it did not come, it can no longer come.
UNCLAIM: Final = _script(f"""
{_WITHOUT_MEMORY}
if stands_at(KEYS[10]) < tonumber(ARGV[2]) then
    call('SET', KEYS[10], string.format('%.0f', ARGV[2] + 1), 'EX', {REMEMBERED})
    return 0
end
local claimed = call('GET', KEYS[10])
if tonumber(string.match(claimed, '^%d+')) > tonumber(ARGV[2]) then return 0 end
for entry, count in string.gmatch(claimed, ' ([%d-]+)/(%d+)') do
    local was = call('ZSCORE', LEASES, entry) and pending(entry)
    if was and was[2] == ARGV[1] and was[4] == tonumber(count) then
        call('HINCRBY', MARKS, entry, 1)
        call('ZREM', LEASES, entry)
        call('ZADD', DUE, now, '=' .. entry)
        news = true
    end
end
call('DEL', KEYS[10])
tell()
return 1
""")

#: KEYS: the parts. ARGV: receiver, then for each delivery: entry, count, ``=key`` or nothing, what to do, and ms or a reason.
#: Gives 1 for each that was done, 0 for each that was lost.
SETTLE: Final = _script(
    f"{_WITHOUT_MEMORY}\n"
    + """
local answers = {}
for at = 2, #ARGV, 5 do
    local entry, key, action, argument = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local ends = call('ZSCORE', LEASES, entry)
    local held = ends and tonumber(ends) > now and pending(entry)
    if not held or held[2] ~= ARGV[1] or held[4] ~= tonumber(ARGV[at + 1]) then
        answers[#answers + 1] = 0
    else
        answers[#answers + 1] = 1
        if action == 'extend' then
            call('ZADD', LEASES, now + argument, entry)
            call('XCLAIM', MESSAGES, GROUP, ARGV[1], 0, entry, 'JUSTID')  -- for those who look at idle times
            if now + argument < tonumber(ends) then news = true end
        elseif action == 'retry' or action == 'release' then
            if action == 'release' then call('HINCRBY', MARKS, entry, 1) else call('HDEL', MARKS, '!' .. entry) end
            call('ZREM', LEASES, entry)
            call('ZADD', DUE, now + argument, '=' .. entry)
            news = true
        else
            if action == 'dead' then
                local fields = call('XRANGE', MESSAGES, entry, entry)[1]
                if fields then
                    fields = fields[2]
                    local died = {'entry', entry, 'reason', argument, 'attempts', held[4] - uncounted(entry, held[4]), 'died_at', now}
                    for _, part in ipairs(died) do fields[#fields + 1] = part end
                    call('XADD', DEAD, '*', unpack(fields))
                end
            end
            remove(entry, held[4])
            advance(key)
        end
    end
end
tell()
return answers
"""
)

#: KEYS: the parts. ARGV: the most. Gives attempts, entries and fields of messages that nobody holds.
PEEK: Final = _script("""
local most, from, scanned, found = tonumber(ARGV[1]), '-', 0, {}
while scanned < 10000 do
    local entries = call('XRANGE', MESSAGES, from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
        local ends = call('ZSCORE', LEASES, entry[1])
        if not ends or tonumber(ends) <= now then
            if #found == most then return found end
            local was = pending(entry[1])
            found[#found + 1] = {was and was[4] - uncounted(entry[1], was[4]) or 0, entry[1], entry[2]}
        end
        from = '(' .. entry[1]
    end
    if #entries < 100 then break end
    scanned = scanned + 100
end
return found
""")

#: KEYS: the parts. Gives ready, delayed, in flight, dead, and for how many ms the oldest has been ready (-1: there is none).
STATS: Final = _script("""
local since
local function older(ms)
    ms = tonumber(ms)
    if ms and ms <= now and (not since or ms < since) then since = ms end
end
for _, key in ipairs({LEASES, DUE}) do older(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end
local last, waiting
for _, group in ipairs(call('XINFO', 'GROUPS', MESSAGES)) do
    local about = {}
    for at = 1, #group, 2 do about[group[at]] = group[at + 1] end
    if about.name == GROUP then last, waiting = about['last-delivered-id'], about.pending end
end
if not last then return redis.error_reply('NOGROUP there is no such queue') end
local first = call('XRANGE', MESSAGES, '(' .. last, '+', 'COUNT', 1)[1]
if first then older(string.match(first[1], '^%d+')) end
local lapsed, due = call('ZCOUNT', LEASES, '-inf', now), call('ZCOUNT', DUE, '-inf', now)
return {
    call('XLEN', MESSAGES) - waiting + lapsed + due + call('ZCARD', LINES),
    call('ZCARD', DUE) - due,
    call('ZCARD', LEASES) - lapsed,
    call('XLEN', DEAD),
    since and now - since or -1,
}
""")

#: KEYS: the parts. ARGV: the most, where to go on, ids of messages (any when there is none). Gives how many, and where to go on or nothing.
REDRIVE: Final = _script("""
local most, moved, from, wanted = tonumber(ARGV[1]), 0, ARGV[2], nil
if #ARGV > 2 then
    wanted = {}
    for at = 3, #ARGV do wanted[ARGV[at]] = true end
end
local entries = call('XRANGE', DEAD, from, '+', 'COUNT', 500)
for _, entry in ipairs(entries) do
    if moved == most then break end
    local fields, about = entry[2], {}
    for at = 1, #fields, 2 do about[fields[at]] = fields[at + 1] end
    if not wanted or wanted[about.about and about.id or about.entry] then
        call('XDEL', DEAD, entry[1])
        if about.id and about.body and about.about then
            put(about.id, about.body, about.about, '', about.key and '=' .. about.key or '')
        else
            news = true
            call('XADD', MESSAGES, '*', unpack(fields, 1, #fields - 8))  -- as whoever added it wrote it
        end
        moved = moved + 1
    end
    from = '(' .. entry[1]
end
tell()
return {moved, #entries == 500 and from or ''}
""")

#: KEYS: the parts. ARGV: until when (ms; nothing: now), the step, where to go on. Gives how many were deleted, and its next arguments.
#: First goes what is in line, then what is delayed, then what is visible: nothing comes out of a line that is to be deleted.
PURGE: Final = _script("""
local stop, step, from, removed = tonumber(ARGV[1]) or now, tonumber(ARGV[2]), ARGV[3], 0
local entries = call('XRANGE', step < 3 and LATER or MESSAGES, from, string.format('%.0f', stop), 'COUNT', 500)
for _, entry in ipairs(entries) do
    local id, fields, key = entry[1], entry[2], ''
    for at = 1, #fields, 2 do
        if fields[at] == 'key' then key = '=' .. fields[at + 1] end
    end
    if step == 1 then
        if key ~= '' and call('ZREM', LINES, position(key, id)) == 1 then
            removed = removed + call('XDEL', LATER, id)
        end
    elseif step == 2 then
        if call('ZREM', DUE, '+' .. id) == 1 then
            removed = removed + call('XDEL', LATER, id)
            advance(key)
        end
    else
        local ends = call('ZSCORE', LEASES, id)
        if not ends or tonumber(ends) <= now then
            call('ZREM', DUE, '=' .. id)
            remove(id, 2)
            removed = removed + 1
            advance(key)
        end
    end
    from = '(' .. id
end
if #entries < 500 then step, from = step + 1, '-' end
tell()
return {removed, string.format('%.0f', stop), step, from}
""")

#: KEYS: the parts. ARGV: a receiver that ends, ms. Forgets it, and others without a sign of life for so long, unless they hold something.
FORGET: Final = _script("""
for _, consumer in ipairs(call('XINFO', 'CONSUMERS', MESSAGES, GROUP)) do
    local about = {}
    for at = 1, #consumer, 2 do about[consumer[at]] = consumer[at + 1] end
    if about.pending == 0 and (about.name == ARGV[1] or about.idle > tonumber(ARGV[2])) then
        call('XGROUP', 'DELCONSUMER', MESSAGES, GROUP, about.name)
    end
end
""")
