// Aligned tables of text.
#ifndef URSA_CLIENT_CLI_TABLE_H_
#define URSA_CLIENT_CLI_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace ursa::cli {

// Collects rows and renders them with columns as wide as their widest cell, two spaces between, no space at a line's
// end. A column whose cells below the header are all numbers or "-" is aligned to the right. Not thread-safe.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // Missing cells are empty; there must be no more cells than columns. Control characters are made visible.
  void AddRow(std::vector<std::string> cells);

  size_t num_rows() const { return rows_.size(); }

  // Lines, each with its end; the header first.
  std::string Render() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// One row of a table that grows while it is watched: each cell right-aligned in `widths` columns, two spaces between.
std::string FixedRow(const std::vector<std::string>& cells, const std::vector<size_t>& widths);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_TABLE_H_
