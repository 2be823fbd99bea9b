-- StudyDate=20240101-20241231
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-12-31"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3)) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-12-31"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3))

-- StudyDate=20240101-20240103&StudyTime=2200-0600&combineddatetime=true
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-01-03"
-- @p4 = 79200000000
-- @p5 = "2024-01-01"
-- @p6 = 21659999999
-- @p7 = "2024-01-03"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND ((c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3) AND ((c["q"]["00080030"] >= @p4) OR NOT ((c["q"]["00080020"] = @p5) ?? false)) AND ((c["q"]["00080030"] <= @p6) OR NOT ((c["q"]["00080020"] = @p7) ?? false)))) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "2024-01-01"
-- @p3 = "2024-01-03"
-- @p4 = 79200000000
-- @p5 = "2024-01-01"
-- @p6 = 21659999999
-- @p7 = "2024-01-03"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND ((c["q"]["00080020"] >= @p2 AND c["q"]["00080020"] <= @p3) AND ((c["q"]["00080030"] >= @p4) OR NOT ((c["q"]["00080020"] = @p5) ?? false)) AND ((c["q"]["00080030"] <= @p6) OR NOT ((c["q"]["00080020"] = @p7) ?? false))))

-- StudyTime=10
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = 36000000000
-- @p3 = 39599999999
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00080030"] >= @p2 AND c["q"]["00080030"] <= @p3)) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = 36000000000
-- @p3 = 39599999999
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00080030"] >= @p2 AND c["q"]["00080030"] <= @p3))

-- PatientID=P1&ModalitiesInStudy=CT
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "p1"
-- @p3 = "ct"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND c["q"]["00100020"] = @p2 AND ARRAY_CONTAINS(c["q"]["00080061"], @p3)) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "p1"
-- @p3 = "ct"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND c["q"]["00100020"] = @p2 AND ARRAY_CONTAINS(c["q"]["00080061"], @p3))

-- PatientID=P*1?&AccessionNumber=*
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "p%1_"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND c["q"]["00100020"] LIKE @p2 ESCAPE '!') ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "p%1_"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND c["q"]["00100020"] LIKE @p2 ESCAPE '!')

-- PatientID=a%5Cb&multiplevaluematching=true
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "a"
-- @p3 = "b"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00100020"] = @p2 OR c["q"]["00100020"] = @p3)) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "a"
-- @p3 = "b"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00100020"] = @p2 OR c["q"]["00100020"] = @p3))

-- PatientID=""&emptyvaluematching=true
-- @p0 = "study"
-- @p1 = "microsoft.default"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND NOT (((IS_DEFINED(c["q"]["00100020"]) AND NOT IS_NULL(c["q"]["00100020"]))) ?? false)) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND NOT (((IS_DEFINED(c["q"]["00100020"]) AND NOT IS_NULL(c["q"]["00100020"]))) ?? false))

-- PatientName=doe^john
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "doe^john"
-- @p3 = "doe^john="
-- @p4 = "=doe^john"
-- @p5 = "=doe^john="
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00100010"]["full"] = @p2 OR STARTSWITH(c["q"]["00100010"]["full"], @p3) OR ENDSWITH(c["q"]["00100010"]["full"], @p4) OR CONTAINS(c["q"]["00100010"]["full"], @p5))) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "doe^john"
-- @p3 = "doe^john="
-- @p4 = "=doe^john"
-- @p5 = "=doe^john="
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (c["q"]["00100010"]["full"] = @p2 OR STARTSWITH(c["q"]["00100010"]["full"], @p3) OR ENDSWITH(c["q"]["00100010"]["full"], @p4) OR CONTAINS(c["q"]["00100010"]["full"], @p5)))

-- PatientName=doe*
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "doe"
-- @p3 = "doe%=%"
-- @p4 = "=doe"
-- @p5 = "%=doe%=%"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (STARTSWITH(c["q"]["00100010"]["full"], @p2) OR c["q"]["00100010"]["full"] LIKE @p3 ESCAPE '!' OR CONTAINS(c["q"]["00100010"]["full"], @p4) OR c["q"]["00100010"]["full"] LIKE @p5 ESCAPE '!')) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "doe"
-- @p3 = "doe%=%"
-- @p4 = "=doe"
-- @p5 = "%=doe%=%"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (STARTSWITH(c["q"]["00100010"]["full"], @p2) OR c["q"]["00100010"]["full"] LIKE @p3 ESCAPE '!' OR CONTAINS(c["q"]["00100010"]["full"], @p4) OR c["q"]["00100010"]["full"] LIKE @p5 ESCAPE '!'))

-- PatientName=doe%20jo&fuzzymatching=true
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = " doe"
-- @p3 = " jo"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (CONTAINS(c["q"]["00100010"]["words"], @p2) AND CONTAINS(c["q"]["00100010"]["words"], @p3))) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = " doe"
-- @p3 = " jo"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND (CONTAINS(c["q"]["00100010"]["words"], @p2) AND CONTAINS(c["q"]["00100010"]["words"], @p3)))

-- StudyInstanceUID=1.2,1.3
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "1.2"
-- @p3 = "1.3"
SELECT TOP 101 c["d"] FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND c["q"]["0020000D"] IN (@p2, @p3)) ORDER BY c["version"] DESC, c["id"] ASC

-- counted
-- @p0 = "study"
-- @p1 = "microsoft.default"
-- @p2 = "1.2"
-- @p3 = "1.3"
SELECT VALUE COUNT(1) FROM c WHERE (c["type"] = @p0 AND c["partition"] = @p1 AND c["q"]["0020000D"] IN (@p2, @p3))

