-- Fills the tables of a store with $ENTRIES entries like the one that is there.
--
-- Sites of very different sizes, most entries delivered, the rest of every kind; of what is queued the older half is due. One site
-- has a backlog that is due, one another that waits for another day.
INSERT INTO formgate.entry (id, site, form, partition, state, reason, revision, accepted_at, due_at, waits_from, expires_at,
    attempts, seen, history, detail, detail_revision)
SELECT (lpad(to_hex(at), 12, '0') || '7' || substr(spread, 1, 3) || '8' || substr(spread, 4, 15))::uuid, site,
    (ARRAY['contact', 'contact', 'quote', 'quote', 'quote', 'careers'])[(1 + n % 6)::int], 0, state,
    CASE state WHEN 0 THEN n % 2 * 14 WHEN 1 THEN CASE WHEN n % 10000 = 990 THEN 23 ELSE 2 END WHEN 2 THEN 12 ELSE 13 END,
    1, at, CASE state WHEN 0 THEN CASE WHEN n > $ENTRIES / 2 THEN at + 90 * 86400000::bigint ELSE at END END, at,
    CASE state WHEN 0 THEN NULL ELSE at + 30 * 86400000::bigint END, 0, 0, '\x00'::bytea,
    -- As many causes as a year of many sites may have.
    CASE state WHEN 1 THEN 'email missing, field ' || n % 100 WHEN 3 THEN '422 refused ' || n % 7 ELSE '' END, 1
FROM (SELECT n, md5(n::text) AS spread, 1760000000000 + n * 10000 AS at,
        'site-' || floor(200 * power(n * 7919 % 100003 / 100003.0, 2)) AS site,
        CASE WHEN n % 1000 < 970 THEN 2 WHEN n % 1000 < 985 THEN 0 WHEN n % 1000 < 999 THEN 1 ELSE 3 END AS state
    FROM generate_series(1, $ENTRIES::bigint) n) given
UNION ALL
SELECT (lpad(to_hex(1760000000000 + n), 12, '0') || '7' || substr(spread, 1, 3) || '9' || substr(spread, 4, 15))::uuid,
    site, 'contact', 0, 0, 14, 1, 1760000000000 + n, CASE site WHEN 'waiting' THEN 1770000000000 ELSE 1760000000000 END + n,
    1760000000000 + n, NULL, 3, 0, '\x00', '', 1
FROM (SELECT n, site, md5(site || n) AS spread
    FROM unnest(ARRAY['waiting', 'backlog']) site, generate_series(1, $ENTRIES::bigint / 40) n) given;

INSERT INTO formgate.content SELECT e.id, e.form, c.reading, c.received, c.body
    FROM formgate.entry e, (SELECT * FROM formgate.content LIMIT 1) c WHERE e.id <> c.id;
DELETE FROM formgate.tally;
INSERT INTO formgate.tally SELECT site, state, count(*) FROM formgate.entry GROUP BY site, state;
DELETE FROM formgate.tally_change;
INSERT INTO formgate.dedupe SELECT substr(sha256(n::text::bytea), 1, 16), id, accepted_at + 30 * 86400000::bigint
    FROM (SELECT row_number() OVER () AS n, id, accepted_at FROM formgate.entry LIMIT $ENTRIES / 4) entries;
UPDATE formgate.entry e SET dedupe_key = d.key FROM formgate.dedupe d WHERE d.id = e.id AND e.state <> 2;
INSERT INTO formgate.outbox (number, at, entry, site, form, from_state, to_state, reason)
    SELECT n, 1760000000000, gen_random_uuid(), 'site-1', 'contact', 0, 2, 12 FROM generate_series(1, $ENTRIES::bigint / 8) n;
UPDATE formgate.last_event SET number = $ENTRIES / 8;
-- At most five forms of each of 5,000 sites.
INSERT INTO formgate.note SELECT kind, 'site-' || n, 1760000000000 + n, 1760000000000 + n, NULL, '{1}'
    FROM generate_series(0, 8) kind, generate_series(1, least($ENTRIES::bigint / 40, 25000)) n;
ANALYZE;
