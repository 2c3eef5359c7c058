-- For wrk: the page views of a file (one JSON body a line), one after the other; ends with a line of figures.
local requests = {}
local at = 0

function init(args)
  local headers = { ["Content-Type"] = "application/json", ["X-API-Key"] = args[2] }
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("figures %d %d %d %d %d\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
