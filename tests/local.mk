# SPDX-License-Identifier: BSD-3-Clause
# One program per unit, in the folders of the units they test.
if HAVE_CHECK
check_LTLIBRARIES = libtestsupport.la
libtestsupport_la_SOURCES = \
	tests/support/alloc_fail.h \
	tests/support/alloc_guard.h \
	tests/support/bytes_file.h \
	tests/support/check.h \
	tests/support/db_test.h \
	tests/support/gate_env.h \
	tests/support/golden.c \
	tests/support/golden.h \
	tests/support/image_env.c \
	tests/support/image_env.h \
	tests/support/iter_pair.h \
	tests/support/runner.h \
	tests/support/vector_iter.c \
	tests/support/vector_iter.h \
	tests/support/version_text.c \
	tests/support/version_text.h
libtestsupport_la_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
unit_tests = \
	tests/engine/base/test_buf \
	tests/engine/base/test_coding \
	tests/engine/base/test_crc32c \
	tests/engine/base/test_hash \
	tests/engine/base/test_hist \
	tests/engine/base/test_memory_limit \
	tests/engine/base/test_nearest \
	tests/engine/compact/test_covered \
	tests/engine/compact/test_job \
	tests/engine/compact/test_merge_loop \
	tests/engine/compact/test_picker \
	tests/engine/db/test_alloc \
	tests/engine/db/test_batch_read \
	tests/engine/db/test_budget \
	tests/engine/db/test_checkpoint \
	tests/engine/db/test_commit \
	tests/engine/db/test_crash \
	tests/engine/db/test_damage \
	tests/engine/db/test_fault \
	tests/engine/db/test_get \
	tests/engine/db/test_golden \
	tests/engine/db/test_ingest \
	tests/engine/db/test_ingest_faults \
	tests/engine/db/test_ingest_threads \
	tests/engine/db/test_inspect \
	tests/engine/db/test_invariants \
	tests/engine/db/test_iter \
	tests/engine/db/test_iter_reuse \
	tests/engine/db/test_large_batch \
	tests/engine/db/test_merge \
	tests/engine/db/test_multi_get \
	tests/engine/db/test_no_wal \
	tests/engine/db/test_open \
	tests/engine/db/test_options \
	tests/engine/db/test_pace \
	tests/engine/db/test_range_del \
	tests/engine/db/test_read_state \
	tests/engine/db/test_recover \
	tests/engine/db/test_repair \
	tests/engine/db/test_space \
	tests/engine/db/test_sst_writer \
	tests/engine/db/test_stall \
	tests/engine/db/test_stats \
	tests/engine/db/test_table_filter \
	tests/engine/db/test_upgrade \
	tests/engine/db/test_verify \
	tests/engine/db/test_work \
	tests/engine/db/test_work_marks \
	tests/engine/db/test_work_problems \
	tests/engine/env/test_env_fault \
	tests/engine/env/test_env_mem \
	tests/engine/env/test_env_posix \
	tests/engine/env/test_pool \
	tests/engine/kv/test_batch \
	tests/engine/kv/test_batch_index \
	tests/engine/kv/test_ikey \
	tests/engine/kv/test_kind \
	tests/engine/kv/test_merge_builtin \
	tests/engine/kv/test_merging_iter \
	tests/engine/kv/test_range_del \
	tests/engine/mem/test_batch_table \
	tests/engine/mem/test_memtable \
	tests/engine/mem/test_skiplist \
	tests/engine/table/test_block \
	tests/engine/table/test_block_cache \
	tests/engine/table/test_bloom \
	tests/engine/table/test_codec_foreign \
	tests/engine/table/test_compress \
	tests/engine/table/test_format \
	tests/engine/table/test_garbage \
	tests/engine/table/test_index \
	tests/engine/table/test_props \
	tests/engine/table/test_salvage \
	tests/engine/table/test_table \
	tests/engine/table/test_table_cache \
	tests/engine/table/test_table_foreign \
	tests/engine/table/test_table_golden \
	tests/engine/version/test_edit \
	tests/engine/version/test_filename \
	tests/engine/version/test_level_iter \
	tests/engine/version/test_manifest_facts \
	tests/engine/version/test_options_file \
	tests/engine/version/test_version \
	tests/engine/version/test_version_set \
	tests/engine/wal/test_log \
	tests/engine/wal/test_salvage \
	tests/fs/cmd/test_cmd_keyset \
	tests/fs/cmd/test_run \
	tests/fs/cmd/test_txn_text \
	tests/fs/mount/test_eventlog \
	tests/fs/mount/test_inode \
	tests/fs/mount/test_keyfile \
	tests/fs/mount/test_lastfd \
	tests/fs/mount/test_mount_options \
	tests/fs/mount/test_tree \
	tests/fs/stats/test_stats \
	tests/fs/text/test_errmap \
	tests/fs/text/test_jsontext \
	tests/fs/text/test_keytext \
	tests/fs/text/test_name \
	tests/fs/text/test_timetext \
	tests/fs/text/test_xattr \
	tests/mvcc/test_alloc \
	tests/mvcc/test_attr \
	tests/mvcc/test_bbolt \
	tests/mvcc/test_chunk \
	tests/mvcc/test_encode \
	tests/mvcc/test_fault \
	tests/mvcc/test_forget \
	tests/mvcc/test_hash \
	tests/mvcc/test_history \
	tests/mvcc/test_import \
	tests/mvcc/test_kv_proto \
	tests/mvcc/test_lease \
	tests/mvcc/test_list \
	tests/mvcc/test_mend \
	tests/mvcc/test_model \
	tests/mvcc/test_plain \
	tests/mvcc/test_request \
	tests/mvcc/test_row_cache \
	tests/mvcc/test_scan \
	tests/mvcc/test_sha256 \
	tests/mvcc/test_table_garbage \
	tests/mvcc/test_table_revs \
	tests/mvcc/test_txn \
	tests/mvcc/test_watch \
	tests/mvcc/test_watch_ring \
	tests/mvcc/test_watch_tree
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
unit_ldadd = libtestsupport.la libcairnfs.la $(CHECK_LIBS)
unit_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) -Wno-format-truncation
tests_engine_base_test_buf_CFLAGS = $(unit_cflags)
tests_engine_base_test_buf_LDADD = $(unit_ldadd)
tests_engine_base_test_coding_CFLAGS = $(unit_cflags)
tests_engine_base_test_coding_LDADD = $(unit_ldadd)
tests_engine_base_test_crc32c_CFLAGS = $(unit_cflags)
tests_engine_base_test_crc32c_LDADD = $(unit_ldadd)
tests_engine_base_test_hash_CFLAGS = $(unit_cflags)
tests_engine_base_test_hash_LDADD = $(unit_ldadd)
tests_engine_base_test_hist_CFLAGS = $(unit_cflags)
tests_engine_base_test_hist_LDADD = $(unit_ldadd)
tests_engine_base_test_memory_limit_CFLAGS = $(unit_cflags)
tests_engine_base_test_memory_limit_LDADD = $(unit_ldadd)
tests_engine_base_test_nearest_CFLAGS = $(unit_cflags)
tests_engine_base_test_nearest_LDADD = $(unit_ldadd)
tests_engine_compact_test_covered_CFLAGS = $(unit_cflags)
tests_engine_compact_test_covered_LDADD = $(unit_ldadd)
tests_engine_compact_test_job_CFLAGS = $(unit_cflags)
tests_engine_compact_test_job_LDADD = $(unit_ldadd)
tests_engine_compact_test_merge_loop_CFLAGS = $(unit_cflags)
tests_engine_compact_test_merge_loop_LDADD = $(unit_ldadd)
tests_engine_compact_test_picker_CFLAGS = $(unit_cflags)
tests_engine_compact_test_picker_LDADD = $(unit_ldadd)
tests_engine_db_test_alloc_CFLAGS = $(unit_cflags)
tests_engine_db_test_alloc_LDADD = $(unit_ldadd)
tests_engine_db_test_batch_read_CFLAGS = $(unit_cflags)
tests_engine_db_test_batch_read_LDADD = $(unit_ldadd)
tests_engine_db_test_budget_CFLAGS = $(unit_cflags)
tests_engine_db_test_budget_LDADD = $(unit_ldadd)
tests_engine_db_test_checkpoint_CFLAGS = $(unit_cflags)
tests_engine_db_test_checkpoint_LDADD = $(unit_ldadd)
tests_engine_db_test_commit_CFLAGS = $(unit_cflags)
tests_engine_db_test_commit_LDADD = $(unit_ldadd)
tests_engine_db_test_crash_CFLAGS = $(unit_cflags)
tests_engine_db_test_crash_LDADD = $(unit_ldadd)
tests_engine_db_test_damage_CFLAGS = $(unit_cflags)
tests_engine_db_test_damage_LDADD = $(unit_ldadd)
tests_engine_db_test_fault_CFLAGS = $(unit_cflags)
tests_engine_db_test_fault_LDADD = $(unit_ldadd)
tests_engine_db_test_get_CFLAGS = $(unit_cflags)
tests_engine_db_test_get_LDADD = $(unit_ldadd)
tests_engine_db_test_golden_CFLAGS = $(unit_cflags)
tests_engine_db_test_golden_LDADD = $(unit_ldadd)
tests_engine_db_test_ingest_CFLAGS = $(unit_cflags)
tests_engine_db_test_ingest_LDADD = $(unit_ldadd)
tests_engine_db_test_ingest_faults_CFLAGS = $(unit_cflags)
tests_engine_db_test_ingest_faults_LDADD = $(unit_ldadd)
tests_engine_db_test_ingest_threads_CFLAGS = $(unit_cflags)
tests_engine_db_test_ingest_threads_LDADD = $(unit_ldadd)
tests_engine_db_test_inspect_CFLAGS = $(unit_cflags)
tests_engine_db_test_inspect_LDADD = $(unit_ldadd)
tests_engine_db_test_invariants_CFLAGS = $(unit_cflags)
tests_engine_db_test_invariants_LDADD = $(unit_ldadd)
tests_engine_db_test_iter_CFLAGS = $(unit_cflags)
tests_engine_db_test_iter_LDADD = $(unit_ldadd)
tests_engine_db_test_iter_reuse_CFLAGS = $(unit_cflags)
tests_engine_db_test_iter_reuse_LDADD = $(unit_ldadd)
tests_engine_db_test_large_batch_CFLAGS = $(unit_cflags)
tests_engine_db_test_large_batch_LDADD = $(unit_ldadd)
tests_engine_db_test_merge_CFLAGS = $(unit_cflags)
tests_engine_db_test_merge_LDADD = $(unit_ldadd)
tests_engine_db_test_multi_get_CFLAGS = $(unit_cflags)
tests_engine_db_test_multi_get_LDADD = $(unit_ldadd)
tests_engine_db_test_no_wal_CFLAGS = $(unit_cflags)
tests_engine_db_test_no_wal_LDADD = $(unit_ldadd)
tests_engine_db_test_open_CFLAGS = $(unit_cflags)
tests_engine_db_test_open_LDADD = $(unit_ldadd)
tests_engine_db_test_options_CFLAGS = $(unit_cflags)
tests_engine_db_test_options_LDADD = $(unit_ldadd)
tests_engine_db_test_pace_CFLAGS = $(unit_cflags)
tests_engine_db_test_pace_LDADD = $(unit_ldadd)
tests_engine_db_test_range_del_CFLAGS = $(unit_cflags)
tests_engine_db_test_range_del_LDADD = $(unit_ldadd)
tests_engine_db_test_read_state_CFLAGS = $(unit_cflags)
tests_engine_db_test_read_state_LDADD = $(unit_ldadd)
tests_engine_db_test_recover_CFLAGS = $(unit_cflags)
tests_engine_db_test_recover_LDADD = $(unit_ldadd)
tests_engine_db_test_repair_CFLAGS = $(unit_cflags)
tests_engine_db_test_repair_LDADD = $(unit_ldadd)
tests_engine_db_test_space_CFLAGS = $(unit_cflags)
tests_engine_db_test_space_LDADD = $(unit_ldadd)
tests_engine_db_test_sst_writer_CFLAGS = $(unit_cflags)
tests_engine_db_test_sst_writer_LDADD = $(unit_ldadd)
tests_engine_db_test_stall_CFLAGS = $(unit_cflags)
tests_engine_db_test_stall_LDADD = $(unit_ldadd)
tests_engine_db_test_stats_CFLAGS = $(unit_cflags)
tests_engine_db_test_stats_LDADD = $(unit_ldadd)
tests_engine_db_test_table_filter_CFLAGS = $(unit_cflags)
tests_engine_db_test_table_filter_LDADD = $(unit_ldadd)
tests_engine_db_test_upgrade_CFLAGS = $(unit_cflags)
tests_engine_db_test_upgrade_LDADD = $(unit_ldadd)
tests_engine_db_test_verify_CFLAGS = $(unit_cflags)
tests_engine_db_test_verify_LDADD = $(unit_ldadd)
tests_engine_db_test_work_CFLAGS = $(unit_cflags)
tests_engine_db_test_work_LDADD = $(unit_ldadd)
tests_engine_db_test_work_marks_CFLAGS = $(unit_cflags)
tests_engine_db_test_work_marks_LDADD = $(unit_ldadd)
tests_engine_db_test_work_problems_CFLAGS = $(unit_cflags)
tests_engine_db_test_work_problems_LDADD = $(unit_ldadd)
tests_engine_env_test_env_fault_CFLAGS = $(unit_cflags)
tests_engine_env_test_env_fault_LDADD = $(unit_ldadd)
tests_engine_env_test_env_mem_CFLAGS = $(unit_cflags)
tests_engine_env_test_env_mem_LDADD = $(unit_ldadd)
tests_engine_env_test_env_posix_CFLAGS = $(unit_cflags)
tests_engine_env_test_env_posix_LDADD = $(unit_ldadd)
tests_engine_env_test_pool_CFLAGS = $(unit_cflags)
tests_engine_env_test_pool_LDADD = $(unit_ldadd)
tests_engine_kv_test_batch_CFLAGS = $(unit_cflags)
tests_engine_kv_test_batch_LDADD = $(unit_ldadd)
tests_engine_kv_test_batch_index_CFLAGS = $(unit_cflags)
tests_engine_kv_test_batch_index_LDADD = $(unit_ldadd)
tests_engine_kv_test_ikey_CFLAGS = $(unit_cflags)
tests_engine_kv_test_ikey_LDADD = $(unit_ldadd)
tests_engine_kv_test_kind_CFLAGS = $(unit_cflags)
tests_engine_kv_test_kind_LDADD = $(unit_ldadd)
tests_engine_kv_test_merge_builtin_CFLAGS = $(unit_cflags)
tests_engine_kv_test_merge_builtin_LDADD = $(unit_ldadd)
tests_engine_kv_test_merging_iter_CFLAGS = $(unit_cflags)
tests_engine_kv_test_merging_iter_LDADD = $(unit_ldadd)
tests_engine_kv_test_range_del_CFLAGS = $(unit_cflags)
tests_engine_kv_test_range_del_LDADD = $(unit_ldadd)
tests_engine_mem_test_batch_table_CFLAGS = $(unit_cflags)
tests_engine_mem_test_batch_table_LDADD = $(unit_ldadd)
tests_engine_mem_test_memtable_CFLAGS = $(unit_cflags)
tests_engine_mem_test_memtable_LDADD = $(unit_ldadd)
tests_engine_mem_test_skiplist_CFLAGS = $(unit_cflags)
tests_engine_mem_test_skiplist_LDADD = $(unit_ldadd)
tests_engine_table_test_block_CFLAGS = $(unit_cflags)
tests_engine_table_test_block_LDADD = $(unit_ldadd)
tests_engine_table_test_block_cache_CFLAGS = $(unit_cflags)
tests_engine_table_test_block_cache_LDADD = $(unit_ldadd)
tests_engine_table_test_bloom_CFLAGS = $(unit_cflags)
tests_engine_table_test_bloom_LDADD = $(unit_ldadd)
tests_engine_table_test_codec_foreign_CFLAGS = $(unit_cflags)
tests_engine_table_test_codec_foreign_LDADD = $(unit_ldadd)
tests_engine_table_test_compress_CFLAGS = $(unit_cflags)
tests_engine_table_test_compress_LDADD = $(unit_ldadd)
tests_engine_table_test_format_CFLAGS = $(unit_cflags)
tests_engine_table_test_format_LDADD = $(unit_ldadd)
tests_engine_table_test_garbage_CFLAGS = $(unit_cflags)
tests_engine_table_test_garbage_LDADD = $(unit_ldadd)
tests_engine_table_test_index_CFLAGS = $(unit_cflags)
tests_engine_table_test_index_LDADD = $(unit_ldadd)
tests_engine_table_test_props_CFLAGS = $(unit_cflags)
tests_engine_table_test_props_LDADD = $(unit_ldadd)
tests_engine_table_test_salvage_CFLAGS = $(unit_cflags)
tests_engine_table_test_salvage_LDADD = $(unit_ldadd)
tests_engine_table_test_table_CFLAGS = $(unit_cflags)
tests_engine_table_test_table_LDADD = $(unit_ldadd)
tests_engine_table_test_table_cache_CFLAGS = $(unit_cflags)
tests_engine_table_test_table_cache_LDADD = $(unit_ldadd)
tests_engine_table_test_table_foreign_CFLAGS = $(unit_cflags)
tests_engine_table_test_table_foreign_LDADD = $(unit_ldadd)
tests_engine_table_test_table_golden_CFLAGS = $(unit_cflags)
tests_engine_table_test_table_golden_LDADD = $(unit_ldadd)
tests_engine_version_test_edit_CFLAGS = $(unit_cflags)
tests_engine_version_test_edit_LDADD = $(unit_ldadd)
tests_engine_version_test_filename_CFLAGS = $(unit_cflags)
tests_engine_version_test_filename_LDADD = $(unit_ldadd)
tests_engine_version_test_level_iter_CFLAGS = $(unit_cflags)
tests_engine_version_test_level_iter_LDADD = $(unit_ldadd)
tests_engine_version_test_manifest_facts_CFLAGS = $(unit_cflags)
tests_engine_version_test_manifest_facts_LDADD = $(unit_ldadd)
tests_engine_version_test_options_file_CFLAGS = $(unit_cflags)
tests_engine_version_test_options_file_LDADD = $(unit_ldadd)
tests_engine_version_test_version_CFLAGS = $(unit_cflags)
tests_engine_version_test_version_LDADD = $(unit_ldadd)
tests_engine_version_test_version_set_CFLAGS = $(unit_cflags)
tests_engine_version_test_version_set_LDADD = $(unit_ldadd)
tests_engine_wal_test_log_CFLAGS = $(unit_cflags)
tests_engine_wal_test_log_LDADD = $(unit_ldadd)
tests_engine_wal_test_salvage_CFLAGS = $(unit_cflags)
tests_engine_wal_test_salvage_LDADD = $(unit_ldadd)
tests_fs_cmd_test_cmd_keyset_CFLAGS = $(unit_cflags)
tests_fs_cmd_test_cmd_keyset_LDADD = $(unit_ldadd)
tests_fs_cmd_test_run_CFLAGS = $(unit_cflags)
tests_fs_cmd_test_run_LDADD = $(unit_ldadd)
tests_fs_cmd_test_txn_text_CFLAGS = $(unit_cflags)
tests_fs_cmd_test_txn_text_LDADD = $(unit_ldadd)
tests_fs_mount_test_eventlog_CFLAGS = $(unit_cflags)
tests_fs_mount_test_eventlog_LDADD = $(unit_ldadd)
tests_fs_mount_test_inode_CFLAGS = $(unit_cflags)
tests_fs_mount_test_inode_LDADD = $(unit_ldadd)
tests_fs_mount_test_keyfile_CFLAGS = $(unit_cflags)
tests_fs_mount_test_keyfile_LDADD = $(unit_ldadd)
tests_fs_mount_test_lastfd_CFLAGS = $(unit_cflags)
tests_fs_mount_test_lastfd_LDADD = $(unit_ldadd)
tests_fs_mount_test_mount_options_CFLAGS = $(unit_cflags)
tests_fs_mount_test_mount_options_LDADD = $(unit_ldadd)
tests_fs_mount_test_tree_CFLAGS = $(unit_cflags)
tests_fs_mount_test_tree_LDADD = $(unit_ldadd)
tests_fs_stats_test_stats_CFLAGS = $(unit_cflags)
tests_fs_stats_test_stats_LDADD = $(unit_ldadd)
tests_fs_text_test_errmap_CFLAGS = $(unit_cflags)
tests_fs_text_test_errmap_LDADD = $(unit_ldadd)
tests_fs_text_test_jsontext_CFLAGS = $(unit_cflags)
tests_fs_text_test_jsontext_LDADD = $(unit_ldadd)
tests_fs_text_test_keytext_CFLAGS = $(unit_cflags)
tests_fs_text_test_keytext_LDADD = $(unit_ldadd)
tests_fs_text_test_name_CFLAGS = $(unit_cflags)
tests_fs_text_test_name_LDADD = $(unit_ldadd)
tests_fs_text_test_timetext_CFLAGS = $(unit_cflags)
tests_fs_text_test_timetext_LDADD = $(unit_ldadd)
tests_fs_text_test_xattr_CFLAGS = $(unit_cflags)
tests_fs_text_test_xattr_LDADD = $(unit_ldadd)
tests_mvcc_test_alloc_CFLAGS = $(unit_cflags)
tests_mvcc_test_alloc_LDADD = $(unit_ldadd)
tests_mvcc_test_attr_CFLAGS = $(unit_cflags)
tests_mvcc_test_attr_LDADD = $(unit_ldadd)
tests_mvcc_test_bbolt_CFLAGS = $(unit_cflags)
tests_mvcc_test_bbolt_LDADD = $(unit_ldadd)
tests_mvcc_test_chunk_CFLAGS = $(unit_cflags)
tests_mvcc_test_chunk_LDADD = $(unit_ldadd)
tests_mvcc_test_encode_CFLAGS = $(unit_cflags)
tests_mvcc_test_encode_LDADD = $(unit_ldadd)
tests_mvcc_test_fault_CFLAGS = $(unit_cflags)
tests_mvcc_test_fault_LDADD = $(unit_ldadd)
tests_mvcc_test_forget_CFLAGS = $(unit_cflags)
tests_mvcc_test_forget_LDADD = $(unit_ldadd)
tests_mvcc_test_hash_CFLAGS = $(unit_cflags)
tests_mvcc_test_hash_LDADD = $(unit_ldadd)
tests_mvcc_test_history_CFLAGS = $(unit_cflags)
tests_mvcc_test_history_LDADD = $(unit_ldadd)
tests_mvcc_test_import_CFLAGS = $(unit_cflags)
tests_mvcc_test_import_LDADD = $(unit_ldadd)
tests_mvcc_test_kv_proto_CFLAGS = $(unit_cflags)
tests_mvcc_test_kv_proto_LDADD = $(unit_ldadd)
tests_mvcc_test_lease_CFLAGS = $(unit_cflags)
tests_mvcc_test_lease_LDADD = $(unit_ldadd)
tests_mvcc_test_list_CFLAGS = $(unit_cflags)
tests_mvcc_test_list_LDADD = $(unit_ldadd)
tests_mvcc_test_mend_CFLAGS = $(unit_cflags)
tests_mvcc_test_mend_LDADD = $(unit_ldadd)
tests_mvcc_test_model_CFLAGS = $(unit_cflags)
tests_mvcc_test_model_LDADD = $(unit_ldadd)
tests_mvcc_test_plain_CFLAGS = $(unit_cflags)
tests_mvcc_test_plain_LDADD = $(unit_ldadd)
tests_mvcc_test_request_CFLAGS = $(unit_cflags)
tests_mvcc_test_request_LDADD = $(unit_ldadd)
tests_mvcc_test_row_cache_CFLAGS = $(unit_cflags)
tests_mvcc_test_row_cache_LDADD = $(unit_ldadd)
tests_mvcc_test_scan_CFLAGS = $(unit_cflags)
tests_mvcc_test_scan_LDADD = $(unit_ldadd)
tests_mvcc_test_sha256_CFLAGS = $(unit_cflags)
tests_mvcc_test_sha256_LDADD = $(unit_ldadd)
tests_mvcc_test_table_garbage_CFLAGS = $(unit_cflags)
tests_mvcc_test_table_garbage_LDADD = $(unit_ldadd)
tests_mvcc_test_table_revs_CFLAGS = $(unit_cflags)
tests_mvcc_test_table_revs_LDADD = $(unit_ldadd)
tests_mvcc_test_txn_CFLAGS = $(unit_cflags)
tests_mvcc_test_txn_LDADD = $(unit_ldadd)
tests_mvcc_test_watch_CFLAGS = $(unit_cflags)
tests_mvcc_test_watch_LDADD = $(unit_ldadd)
tests_mvcc_test_watch_ring_CFLAGS = $(unit_cflags)
tests_mvcc_test_watch_ring_LDADD = $(unit_ldadd)
tests_mvcc_test_watch_tree_CFLAGS = $(unit_cflags)
tests_mvcc_test_watch_tree_LDADD = $(unit_ldadd)
endif

# With the real RocksDB beside us.
if HAVE_CHECK
if HAVE_ROCKSDB
compat_tests = \
	tests/compat/test_batch \
	tests/compat/test_external \
	tests/compat/test_live \
	tests/compat/test_properties \
	tests/compat/test_range_del \
	tests/compat/test_repair \
	tests/compat/test_rocksdb \
	tests/compat/test_rocksdb_merge \
	tests/compat/test_rocksdb_options
check_PROGRAMS += $(compat_tests)
TESTS += $(compat_tests)
tests_compat_test_batch_CFLAGS = $(unit_cflags)
tests_compat_test_batch_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_external_CFLAGS = $(unit_cflags)
tests_compat_test_external_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_live_CFLAGS = $(unit_cflags)
tests_compat_test_live_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_properties_CFLAGS = $(unit_cflags)
tests_compat_test_properties_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_range_del_CFLAGS = $(unit_cflags)
tests_compat_test_range_del_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_repair_CFLAGS = $(unit_cflags)
tests_compat_test_repair_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_rocksdb_CFLAGS = $(unit_cflags)
tests_compat_test_rocksdb_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_rocksdb_merge_CFLAGS = $(unit_cflags)
tests_compat_test_rocksdb_merge_LDADD = $(unit_ldadd) -lrocksdb
tests_compat_test_rocksdb_options_CFLAGS = $(unit_cflags)
tests_compat_test_rocksdb_options_LDADD = $(unit_ldadd) -lrocksdb
TESTS += tests/compat/mount_ldb_test.sh
TESTS += tests/compat/plain_ldb_test.sh
check_PROGRAMS += tests/compat/rocksdb_touch
tests_compat_rocksdb_touch_CFLAGS = $(AM_CFLAGS)
tests_compat_rocksdb_touch_LDADD = libmvcc.la -lrocksdb
endif
endif

check_PROGRAMS += tests/support/hold_lock
tests_support_hold_lock_CFLAGS = $(AM_CFLAGS)
EXTRA_DIST += tests/compat/mount_ldb_test.sh tests/compat/plain_ldb_test.sh

# On the built program.
dist_check_SCRIPTS += \
	tests/fs/cli_test.sh \
	tests/fs/flat_test.sh \
	tests/fs/full_test.sh \
	tests/fs/hostile_test.sh \
	tests/fs/import_test.sh \
	tests/fs/inspect_test.sh \
	tests/fs/mount_test.sh \
	tests/fs/plain_test.sh \
	tests/fs/programs_test.sh \
	tests/fs/races_test.sh \
	tests/fs/requests_test.sh \
	tests/fs/users_test.sh \
	tests/fs/watch_test.sh \
	tests/fuzz/fuzz_test.sh \
	tests/install/install_test.sh \
	tests/mvcc/etcd_replay_test.sh
TESTS += \
	tests/fs/cli_test.sh \
	tests/fs/flat_test.sh \
	tests/fs/full_test.sh \
	tests/fs/hostile_test.sh \
	tests/fs/import_test.sh \
	tests/fs/inspect_test.sh \
	tests/fs/mount_test.sh \
	tests/fs/plain_test.sh \
	tests/fs/programs_test.sh \
	tests/fs/races_test.sh \
	tests/fs/requests_test.sh \
	tests/fs/users_test.sh \
	tests/fs/watch_test.sh \
	tests/fuzz/fuzz_test.sh \
	tests/install/install_test.sh \
	tests/mvcc/etcd_replay_test.sh
EXTRA_DIST += tests/fs/checks.sh
EXTRA_DIST += tests/install/tour.c

# Time-outs are there to end what hangs: a busy machine must not reach them.
AM_TESTS_ENVIRONMENT = CAIRN=$(abs_top_builddir)/cairn; export CAIRN; \
	CK_TIMEOUT_MULTIPLIER=10; export CK_TIMEOUT_MULTIPLIER;
EXTRA_DIST += tests/data
noinst_HEADERS += tests/engine/db/ingest_support.h tests/engine/env/contract.h tests/engine/table/table_support.h tests/fs/fixture.h tests/mvcc/bbolt_walk.h tests/mvcc/etcd_expect.h tests/mvcc/etcd_player.h tests/mvcc/etcd_trace.h tests/mvcc/fixture.h tests/support/check.h tests/support/runner.h
