// Where a crash of the store, or a write that fails, is interesting (base/failpoint.h).
#ifndef URSA_STORAGE_FAILPOINTS_H_
#define URSA_STORAGE_FAILPOINTS_H_

#include "base/failpoint.h"

namespace ursa::failpoints {

// RocksDB's own writes, and the tables of bulk loads.
inline Failpoint kv_opened("storage.kv.opened");  // the log is replayed, what loads left is still there
inline StatusFailpoint kv_before_synced_write("storage.kv.before_synced_write");
inline Failpoint kv_after_synced_write("storage.kv.after_synced_write");
inline StatusFailpoint kv_before_buffered_write("storage.kv.before_buffered_write");
inline Failpoint kv_after_buffered_write("storage.kv.after_buffered_write");
inline Failpoint load_table_finished("storage.load.table_finished");  // synced, under a name of its own
inline StatusFailpoint load_before_ingest("storage.load.before_ingest");
inline Failpoint load_ingested("storage.load.ingested");

// A blob on its way: record of the upload, chunks, record of the blob.
inline Failpoint blob_upload_started("storage.blob.upload_started");
inline Failpoint blob_chunk_written("storage.blob.chunk_written");
inline StatusFailpoint blob_before_commit("storage.blob.before_commit");
inline Failpoint blob_committed("storage.blob.committed");
inline Failpoint blob_upload_dropped("storage.blob.upload_dropped");
inline StatusFailpoint blob_before_put_many("storage.blob.before_put_many");
inline Failpoint blob_many_put("storage.blob.many_put");
inline Failpoint blob_load_written("storage.blob.load_written");  // chunks and records are in tables, none is visible
inline StatusFailpoint blob_before_delete("storage.blob.before_delete");
inline Failpoint blob_deleted("storage.blob.deleted");

// Records, and the bulk data that is written before them.
inline StatusFailpoint records_before_commit("storage.records.before_commit");
inline Failpoint records_committed("storage.records.committed");
inline StatusFailpoint metrics_before_append("storage.metrics.before_append");
inline Failpoint metrics_appended("storage.metrics.appended");
inline StatusFailpoint logs_before_append("storage.logs.before_append");
inline Failpoint logs_appended("storage.logs.appended");
inline StatusFailpoint ledger_before_put("storage.ledger.before_put");
inline Failpoint ledger_put("storage.ledger.put");

}  // namespace ursa::failpoints

#endif  // URSA_STORAGE_FAILPOINTS_H_
