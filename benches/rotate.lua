-- For wrk: sends the cookies of the file named by its first argument in turn, for the path and the host of the next two,
-- and prints what the script reads: requests, microseconds, answers that were no success (a redirect is one), failed
-- connections, bytes received.
local requests = {}
local turn = 0

function init(arguments)
  local path, host = arguments[2], arguments[3]
  for line in io.lines(arguments[1]) do
    local cookie = nil
    if line ~= "" then cookie = line end
    requests[#requests + 1] = wrk.format("GET", path, { ["Host"] = host, ["Cookie"] = cookie })
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, errors.status, broken, summary.bytes))
end
