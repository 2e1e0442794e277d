-- Inserts, an index, joins, groups, updates and text, in a file of its own.
PRAGMA journal_mode = MEMORY;
CREATE TABLE item(id INTEGER PRIMARY KEY, kind INTEGER, price INTEGER, name TEXT);
BEGIN;
WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 50000)
INSERT INTO item SELECT n, n % 97, (n * 7919) % 10007, printf('item-%06d', (n * 104729) % 50021) FROM counter;
COMMIT;
CREATE INDEX by_name ON item(name);
CREATE TABLE kind(id INTEGER PRIMARY KEY, factor INTEGER);
WITH RECURSIVE counter(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counter WHERE n < 96)
INSERT INTO kind SELECT n, n * n + 1 FROM counter;
SELECT 'rows', count(*), sum(price) FROM item;
SELECT 'join', sum(item.price * kind.factor) FROM item JOIN kind ON kind.id = item.kind;
UPDATE item SET price = price + 1 WHERE id % 3 = 0;
SELECT 'updated', sum(price) FROM item;
SELECT 'groups', sum(total * id) FROM (SELECT kind AS id, sum(price) AS total FROM item GROUP BY kind);
SELECT 'names', count(*), min(name), max(name) FROM item WHERE name LIKE '%7%1';
SELECT 'pairs', count(*) FROM item a JOIN item b ON b.name = printf('item-%06d', a.id % 50021);
DELETE FROM item WHERE id % 2 = 0;
SELECT 'left', count(*), sum(length(name)) FROM item;
PRAGMA integrity_check;
