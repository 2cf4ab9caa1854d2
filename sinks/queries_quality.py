"""What do people ask of quality: what has moved, what fails alike, and what had to be done again?"""

from sinks.named import MINE, SINCE, Query, lately

ALIKE = r"""replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(substring({column}, 1, 2000),
       '(?i)[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}', '<id>'),
       '(?i)\\b([a-z]+[-_][a-z0-9-_]*[0-9][a-z0-9-_]*|[0-9a-f]*[0-9][0-9a-f]{{7,}}[0-9a-f]*)\\b', '<id>'),
       '[0-9]+', '#')"""
"""A text without what is of one run only: ids, long hexadecimal words and numbers."""


def alike(column: str) -> str:
    return ALIKE.format(column=column)


QUALITY = (
    Query("drift", "What of an agent's questions, answers, waits, outcomes and models moved since the week before", f"""
SELECT at AS hour, tenant, agent, feature, round(psi, 4) AS moved_psi, round(psi_critical, 4) AS told_from_psi,
       round(ks, 4) AS moved_ks, round(ks_critical, 4) AS told_from_ks, reference_runs, runs, reference, current
FROM drift WHERE {MINE} AND {SINCE}
ORDER BY hour DESC, moved_psi DESC, tenant, agent, feature LIMIT {{limit:UInt32}}""", lately(hours=168, limit=200)),

    Query("profiles", "How the runs of each agent were spread, hour by hour", f"""
SELECT at AS hour, tenant, agent, runs, outcome, model, script, question_chars, answer_chars, wait_ms
FROM profiles WHERE {MINE} AND {SINCE} ORDER BY hour DESC, tenant, agent""", lately(hours=168)),

    Query("failed_clusters", "Failed runs that failed alike, the most frequent first, with three examples each", f"""
SELECT tenant, agent, outcome, reason, model, {alike("detail")} AS alike, count() AS how_many, min(at) AS first_at,
       max(at) AS newest_at,
       arrayMap(pair -> pair.2, arraySlice(arrayReverseSort(groupArraySample(20, 1)((at, run))), 1, 3)) AS examples,
       argMax(runs.detail, at) AS newest_detail
FROM runs WHERE {MINE} AND {SINCE} AND outcome IN ('failed', 'stopped')
GROUP BY tenant, agent, outcome, reason, model, alike
ORDER BY how_many DESC, newest_at DESC, tenant, agent, reason, alike LIMIT {{limit:UInt32}}""", lately(limit=50)),

    Query("tool_errors", "Which tools fail, how often and of what, with three examples each", f"""
SELECT tenant, replaceOne(name, 'execute_tool ', '') AS tool, count() AS calls,
       countIf(status = 'error') AS errors, round(errors / calls, 4) AS error_share,
       topKIf(3)(error_type, status = 'error' AND error_type != '') AS mostly,
       groupArraySampleIf(3, 1)(run, status = 'error') AS examples, max(wait_ms) AS longest_ms
FROM spans WHERE {MINE} AND {SINCE} AND operation = 'execute_tool'
GROUP BY tenant, tool ORDER BY errors DESC, calls DESC, tenant, tool LIMIT {{limit:UInt32}}""", lately(limit=50)),

    Query("retries_and_fallbacks", "Which models were asked again or stood in for another, why, and at what cost", f"""
SELECT tenant, model, count() AS asked, countIf(nth > 1 AND NOT hedge AND model = first_asked) AS retries,
       countIf(nth > 1 AND NOT hedge AND model != first_asked) AS stood_in, countIf(hedge) AS hedges,
       countIf(reason NOT IN ('', 'late', 'cancelled')) AS in_vain, round(in_vain / asked, 4) AS in_vain_share,
       topKIf(3)(reason, reason NOT IN ('', 'late', 'cancelled')) AS mostly,
       sumIf(wait_ms, reason NOT IN ('', 'late', 'cancelled')) AS lost_ms,
       sumIf(ifNull(cost_usd, toDecimal128(0, 12)), wasted) AS wasted_usd,
       countIf(wasted AND cost_usd IS NULL) AS may_be_billed
FROM (SELECT tenant, model, nth, hedge, reason, wait_ms, cost_usd, wasted,
             first_value(model) OVER (PARTITION BY cause ORDER BY nth) AS first_asked
      FROM attempts WHERE {MINE} AND {SINCE})
GROUP BY tenant, model ORDER BY in_vain DESC, asked DESC, tenant, model LIMIT {{limit:UInt32}}""", lately(limit=50)),
)
