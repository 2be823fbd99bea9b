-- search, first page
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-12-31"
-- @p4 = " smith"
-- @p5 = "CT"
SELECT TOP 101 c["d"] FROM c WHERE ((c["type"] = @p0 AND c["partition"] = @p1) AND (c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3) AND CONTAINS(c["q"]["00100010"]["words"], @p4) AND ARRAY_CONTAINS(c["q"]["00080061"], @p5)) ORDER BY c["version"] DESC, c["id"] ASC

-- search, next page
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-12-31"
-- @p4 = " smith"
-- @p5 = "CT"
-- @p6 = "0900"
-- @p7 = "study|1.2"
SELECT TOP 101 c["d"] FROM c WHERE ((c["type"] = @p0 AND c["partition"] = @p1) AND (c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3) AND CONTAINS(c["q"]["00100010"]["words"], @p4) AND ARRAY_CONTAINS(c["q"]["00080061"], @p5)) AND ((c["version"] < @p6) OR (c["version"] = @p6 AND c["id"] > @p7)) ORDER BY c["version"] DESC, c["id"] ASC

-- search, offset
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-12-31"
-- @p4 = " smith"
-- @p5 = "CT"
SELECT c["d"] FROM c WHERE ((c["type"] = @p0 AND c["partition"] = @p1) AND (c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3) AND CONTAINS(c["q"]["00100010"]["words"], @p4) AND ARRAY_CONTAINS(c["q"]["00080061"], @p5)) ORDER BY c["version"] DESC, c["id"] ASC OFFSET 200 LIMIT 101

-- instances of a study
-- @p0 = "p|1.2"
-- @p1 = "instance"
SELECT TOP 1000 * FROM c WHERE c["pk"] = @p0 AND c["type"] = @p1 ORDER BY c["version"] DESC, c["id"] ASC

-- outbox
-- @p0 = "outbox"
SELECT TOP 100 * FROM c WHERE c["type"] = @p0 ORDER BY c["version"] ASC

-- feed
-- @p0 = "0"
-- @p1 = 5
SELECT TOP 100 * FROM c WHERE c["bucket"] = @p0 AND (c["sequence"] >= @p1) ORDER BY c["sequence"] ASC

-- newest partition
-- @p0 = "partition"
-- @p1 = "partition"
SELECT TOP 1 c["key"] FROM c WHERE c["kind"] = @p0 AND c["kind"] = @p1 AND IS_DEFINED(c["key"]) ORDER BY c["key"] DESC

-- newest partition: those that lack the sort key
-- @p0 = "partition"
-- @p1 = "partition"
SELECT TOP 1 c["key"] FROM c WHERE c["kind"] = @p0 AND c["kind"] = @p1 AND NOT (IS_DEFINED(c["key"]))

-- newest partition: how many have it
-- @p0 = "partition"
-- @p1 = "partition"
SELECT VALUE COUNT(1) FROM c WHERE c["kind"] = @p0 AND c["kind"] = @p1 AND IS_DEFINED(c["key"])

