"""Named queries on quality: drift, clusters of failures, retries, loops."""

from sinks.clickhouse.queries.base import MINE, SINCE, Query, lately

ALIKE = r"""replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(substring({column}, 1, 2000),
       '(?i)[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}', '<id>'),
       '(?i)\\b([a-z]+[-_][a-z0-9-_]*[0-9][a-z0-9-_]*|[0-9a-f]*[0-9][0-9a-f]{{7,}}[0-9a-f]*)\\b', '<id>'),
       '[0-9]+', '#')"""
"""A text without what is of one run only: ids, long hexadecimal words and numbers."""


def alike(column: str) -> str:
    return ALIKE.format(column=column)


QUALITY = (
    Query(
        "drift",
        "What of an agent's questions, answers, waits, outcomes and models moved since the week "
        "before",
        f"""
SELECT at AS hour, tenant, agent, feature, round(psi, 4) AS moved_psi,
       round(psi_critical, 4) AS told_from_psi,
       round(ks, 4) AS moved_ks, round(ks_critical, 4) AS told_from_ks, reference_runs, runs,
       reference, current
FROM drift WHERE {MINE} AND {SINCE}
ORDER BY hour DESC, moved_psi DESC, tenant, agent, feature LIMIT {{limit:UInt32}}""",
        lately(hours=168, limit=200),
    ),
    Query(
        "profiles",
        "How the runs of each agent were spread, hour by hour",
        f"""
SELECT at AS hour, tenant, agent, runs, outcome, model, language, script, subject, question_chars,
       answer_chars, wait_ms
FROM profiles WHERE {MINE} AND {SINCE} ORDER BY hour DESC, tenant, agent""",
        lately(hours=168),
    ),
    Query(
        "failed_clusters",
        "Failed runs that failed alike, the most frequent first, with three examples each",
        f"""
SELECT tenant, agent, outcome, reason, model, {alike("detail")} AS alike, count() AS how_many,
       min(at) AS first_at,
       max(at) AS newest_at,
       arrayMap(pair -> pair.2, arraySlice(arrayReverseSort(groupArraySample(20, 1)((at, run))), 1,
       3)) AS examples,
       argMax(runs.detail, at) AS newest_detail
FROM runs WHERE {MINE} AND {SINCE} AND outcome IN ('failed', 'stopped')
GROUP BY tenant, agent, outcome, reason, model, alike
ORDER BY how_many DESC, newest_at DESC, tenant, agent, reason, alike LIMIT {{limit:UInt32}}""",
        lately(limit=50),
    ),
    Query(
        "tool_errors",
        "Which tools fail, how often and of what, with three examples each",
        f"""
SELECT tenant, replaceOne(name, 'execute_tool ', '') AS tool, count() AS calls,
       countIf(status = 'error') AS errors, round(errors / calls, 4) AS error_share,
       topKIf(3)(error_type, status = 'error' AND error_type != '') AS mostly,
       groupArraySampleIf(3, 1)(run, status = 'error') AS examples, max(wait_ms) AS longest_ms
FROM spans WHERE {MINE} AND {SINCE} AND operation = 'execute_tool'
GROUP BY tenant, tool ORDER BY errors DESC, calls DESC, tenant, tool LIMIT {{limit:UInt32}}""",
        lately(limit=50),
    ),
    Query(
        "retries_and_fallbacks",
        "Which models were asked again or stood in for another, why, and at what cost",
        f"""
SELECT tenant, model, count() AS asked,
       countIf(nth > 1 AND NOT hedge AND model = first_asked) AS retries,
       countIf(nth > 1 AND NOT hedge AND model != first_asked) AS stood_in,
       countIf(hedge) AS hedges,
       countIf(reason NOT IN ('', 'late', 'cancelled')) AS in_vain,
       round(in_vain / asked, 4) AS in_vain_share,
       topKIf(3)(reason, reason NOT IN ('', 'late', 'cancelled')) AS mostly,
       sumIf(wait_ms, reason NOT IN ('', 'late', 'cancelled')) AS lost_ms,
       sumIf(ifNull(cost_usd, toDecimal128(0, 12)), wasted) AS wasted_usd,
       countIf(wasted AND cost_usd IS NULL) AS may_be_billed
FROM (SELECT tenant, model, nth, hedge, reason, wait_ms, cost_usd, wasted,
             first_value(model) OVER (PARTITION BY cause ORDER BY nth) AS first_asked
      FROM attempts WHERE {MINE} AND {SINCE})
GROUP BY tenant, model ORDER BY in_vain DESC, asked DESC, tenant, model LIMIT {{limit:UInt32}}""",
        lately(limit=50),
    ),
    Query(
        "latency_budget",
        "Where the time of an agent's runs goes: each kind of step, of the whole and of one run",
        f"""
SELECT tenant, agent, part.1 AS spent_on, steps, round(part.2 / all_runs) AS ms_a_run,
       round(part.2 / greatest(whole_ms, 1), 4) AS share_of_run,
       if(spent_on = 'between steps', NULL, round(half_ms)) AS step_p50_ms,
       if(spent_on = 'between steps', NULL, round(most_ms)) AS step_p95_ms
FROM (SELECT tenant, agent, operation, count() AS steps, sum(wait_ms) AS spent_ms,
       quantile(0.5)(wait_ms) AS half_ms,
             quantile(0.95)(wait_ms) AS most_ms,
             max(if(operation = 'invoke_agent', count(), 1)) OVER (PARTITION BY tenant,
             agent) AS all_runs,
             max(if(operation = 'invoke_agent', sum(wait_ms), 0)) OVER (PARTITION BY tenant,
             agent) AS whole_ms,
             sum(if(operation = 'invoke_agent', 0, sum(wait_ms))) OVER (PARTITION BY tenant,
             agent) AS within_ms,
             arrayJoin(if(operation = 'invoke_agent', [('the whole run', toInt64(whole_ms)),
             ('between steps', greatest(
                 toInt64(whole_ms) - toInt64(within_ms), 0))], [(toString(operation),
                 toInt64(spent_ms))])) AS part
      FROM spans WHERE {MINE} AND {SINCE} AND source = 'weir' GROUP BY tenant, agent, operation)
ORDER BY tenant, agent, spent_on = 'the whole run' DESC, ms_a_run DESC, spent_on""",
        lately(),
    ),
    Query(
        "verdict_rates",
        "In which share of the runs the guardrails found something, and what they did about it",
        f"""
SELECT tenant, agent, sum(asked) AS all_runs, sum(found) AS with_findings,
       round(with_findings / greatest(all_runs, 1), 4)
       AS found_share, sum(blocking) AS blocked, sum(redacting) AS redacted,
       sum(flagging) AS flagged,
       sum(shadowed) AS in_shadow, arrayStringConcat(arrayFlatten(groupArray(rules)),
       ', ') AS mostly
FROM (SELECT tenant, agent, count() AS asked, 0 AS found, 0 AS blocking, 0 AS redacting,
       0 AS flagging, 0 AS shadowed,
             emptyArrayString() AS rules
      FROM runs WHERE {MINE} AND {SINCE} AND outcome != 'refused' GROUP BY tenant, agent
      UNION ALL
      SELECT tenant, agent, 0, uniqExact(run), uniqExactIf(run, enforced AND action = 'block'),
             uniqExactIf(run, enforced AND action = 'redact'),
             uniqExactIf(run, enforced AND action = 'flag'),
             uniqExactIf(run, NOT enforced), topK(3)(toString(rule))
      FROM verdicts WHERE {MINE} AND {SINCE} GROUP BY tenant, agent)
GROUP BY tenant, agent ORDER BY found_share DESC, tenant, agent""",
        lately(),
    ),
    Query(
        "loops",
        "Which runs went round in circles: the same tool with the same arguments, or stopped for it",
        f"""
SELECT tenant, agent, what, count() AS loops_found, max(times) AS most_often,
       max(newest) AS newest_at,
       groupArraySample(3, 1)(run) AS examples
FROM (SELECT tenant, agent, concat('called ', tool, ' alike') AS what, run, count() AS times,
       max(at) AS newest
      FROM spans WHERE {MINE} AND {SINCE} AND operation = 'execute_tool' AND source = 'weir'
      GROUP BY tenant, agent, run, tool, cityHash64(input) HAVING times >= {{times:UInt32}}
      UNION ALL
      SELECT tenant, agent, concat('stopped: ', reason), run, model_calls, at
      FROM runs WHERE {MINE} AND {SINCE} AND outcome = 'stopped' AND reason IN ('loop', 'steps'))
GROUP BY tenant, agent, what ORDER BY loops_found DESC, tenant, agent, what""",
        lately(times=3),
    ),
    Query(
        "abandoned_runs",
        "Which runs nobody finished: cancelled, without the answer they waited for, or still open",
        f"""
SELECT tenant, agent, why, count() AS how_many, max(last_at) AS newest_at,
       groupArraySample(3, 1)(run) AS examples
FROM (SELECT tenant, run, anyIf(agent, agent != '') AS agent, max(at) AS last_at,
             multiIf(anyIf(outcome, ended) = 'cancelled', 'cancelled', anyIf(reason,
             ended) = 'waiting_seconds',
                     'the user did not answer', NOT max(ended)
                     AND last_at < now64(3, 'UTC') - INTERVAL {{minutes:UInt32}} MINUTE,
                     concat('open, last seen at ', argMax(name, at)), '') AS why
      FROM (SELECT tenant, run, agent, at, 1 AS ended, outcome, reason, '' AS name FROM runs
      WHERE {MINE} AND {SINCE}
            UNION ALL
            SELECT tenant, run, agent, at, 0, '', '', toString(name) FROM spans
            WHERE {MINE} AND {SINCE} AND source = 'weir'
            AND run != toUUID('00000000-0000-0000-0000-000000000000'))
      GROUP BY tenant, run HAVING why != '')
GROUP BY tenant, agent, why ORDER BY how_many DESC, tenant, agent, why""",
        lately(minutes=60),
    ),
)
