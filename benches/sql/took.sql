-- The time from the commit of the statement that changed the agents to the commit of the last
-- configuration, in seconds, by the server's commit timestamps.
SELECT extract(epoch FROM
    (SELECT max(pg_xact_commit_timestamp(c.x)) FROM (SELECT DISTINCT xmin AS x FROM agent_configurations) c)
    - (SELECT max(pg_xact_commit_timestamp(a.x)) FROM (SELECT DISTINCT xmin AS x FROM agents) a))::float8
