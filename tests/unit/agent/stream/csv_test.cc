// Splitting lines: quotes, separators, line ends, limits.
#include "agent/stream/csv.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace dipper::stream {
namespace {

using base::Status;

struct Split {
  Status status = Status::kOk;
  std::vector<std::string> cells;
  bool operator==(const Split&) const = default;
};

Split Cut(const std::string& line, char delimiter = ',', size_t room = 64) {
  std::vector<char> scratch(line.size());
  std::vector<std::string_view> cells(room);
  uint32_t count = 99;
  Split out;
  out.status = SplitLine(line, delimiter, scratch, cells, &count);
  for (uint32_t i = 0; i < count; ++i) out.cells.emplace_back(cells[i]);
  return out;
}

Split Good(std::vector<std::string> cells) { return {Status::kOk, std::move(cells)}; }

TEST(SplitLine, CutsPlainCells) {
  EXPECT_EQ(Cut("a,b,c"), Good({"a", "b", "c"}));
  EXPECT_EQ(Cut("1;2,5;3", ';'), Good({"1", "2,5", "3"}));
  EXPECT_EQ(Cut(" a , b "), Good({" a ", " b "}));
}

TEST(SplitLine, KeepsEmptyCells) {
  EXPECT_EQ(Cut(""), Good({""}));
  EXPECT_EQ(Cut(","), Good({"", ""}));
  EXPECT_EQ(Cut("a,"), Good({"a", ""}));
  EXPECT_EQ(Cut(",,b"), Good({"", "", "b"}));
  EXPECT_EQ(Cut("\"\",\"\""), Good({"", ""}));
}

TEST(SplitLine, IgnoresLineEnds) {
  EXPECT_EQ(Cut("a,b\r\n"), Good({"a", "b"}));
  EXPECT_EQ(Cut("a,b\n"), Good({"a", "b"}));
  EXPECT_EQ(Cut("a,\r"), Good({"a", ""}));
}

TEST(SplitLine, UndoesQuotes) {
  EXPECT_EQ(Cut("\"a,b\",c"), Good({"a,b", "c"}));
  EXPECT_EQ(Cut("\"say \"\"hi\"\"\",\"\"\"\""), Good({"say \"hi\"", "\""}));
  EXPECT_EQ(Cut("x\"y,z"), Good({"x\"y", "z"}));  // a quote inside a bare cell is text
}

TEST(SplitLine, RefusesBrokenQuotes) {
  for (const char* line : {"\"a,b", "\"", "\"a\"b,c", "a,\"b\"\""}) {
    EXPECT_EQ(Cut(line), (Split{Status::kInvalidArgument, {}})) << line;
  }
}

TEST(SplitLine, IsBounded) {
  EXPECT_EQ(Cut("a,b,c", ',', 2).status, Status::kResourceExhausted);
  EXPECT_EQ(Cut("a,b", ',', 2).status, Status::kOk);
  std::array<std::string_view, 4> cells;
  std::array<char, 3> scratch;
  uint32_t count = 0;
  EXPECT_EQ(SplitLine("\"\"\"abc\"", ',', scratch, cells, &count), Status::kResourceExhausted);
  EXPECT_EQ(count, 0U);
  EXPECT_EQ(SplitLine("\"\"\"ab\"", ',', scratch, cells, &count), Status::kOk);
  EXPECT_EQ(cells[0], "\"ab");
}

TEST(SplitLine, TakesEveryShortLineWithoutTrouble) {
  // All lines of up to 6 letters over an alphabet of what matters: no crash, and errors leave no cells.
  const std::string letters = "a,\"\r";
  for (size_t length = 0; length <= 6; ++length) {
    size_t total = 1;
    for (size_t i = 0; i < length; ++i) total *= letters.size();
    for (size_t n = 0; n < total; ++n) {
      std::string line;
      for (size_t i = 0, rest = n; i < length; ++i, rest /= letters.size())
        line += letters[rest % letters.size()];
      const Split split = Cut(line);
      EXPECT_EQ(split.cells.empty(), split.status != Status::kOk) << line;
    }
  }
}

TEST(DetectDelimiter, TakesTheMoreFrequentOutsideQuotes) {
  EXPECT_EQ(DetectDelimiter("a,b,c"), ',');
  EXPECT_EQ(DetectDelimiter("a;b;c"), ';');
  EXPECT_EQ(DetectDelimiter("\"a,b,c\";d"), ';');
  EXPECT_EQ(DetectDelimiter("one"), ',');
}

TEST(Csv, KnowsMissingValues) {
  for (const char* cell : {"", "  ", "NA", "na", "N/A", "NaN", "nan", "null", "NULL", "None", "?", " ? "}) {
    EXPECT_TRUE(IsMissing(cell)) << cell;
  }
  for (const char* cell : {"0", "-", "nano", "n", "??", "inf"}) EXPECT_FALSE(IsMissing(cell)) << cell;
}

}  // namespace
}  // namespace dipper::stream
