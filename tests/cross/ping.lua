-- Has wrk POST pings, look at each answer and say in one line what it has counted.

wrk.method = "POST"
wrk.body = '{"command":"ping","data":{}}'
wrk.headers["Content-Type"] = "application/json"

local threads = {}

function setup(thread)
   thread:set("wrong_bodies", 0)
   table.insert(threads, thread)
end

function response(status, headers, body)
   if not body:find('"message":"PONG"', 1, true) then
      wrong_bodies = wrong_bodies + 1
   end
end

function done(summary, latency, requests)
   local errors, wrong = summary.errors, 0
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("wrong_bodies")
   end
   print(string.format("counted: requests %d connect %d read %d write %d timeout %d status %d body %d",
      summary.requests, errors.connect, errors.read, errors.write, errors.timeout, errors.status, wrong))
end
