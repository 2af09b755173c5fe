package english

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// directive is a comment for a tool: //go:build, //nolint:errorlint // reason.
var directive = regexp.MustCompile(`^//[a-z]+:`)

// Folder is the prose of the Go files of one folder, by file name: comments, and help texts of commands. Tests are left
// out.
func Folder(dir string) (map[string][]Block, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	files := map[string]*ast.File{}
	set := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("prose of %s: %w", path, err)
		}
		files[filepath.Base(path)] = file
	}
	texts := constants(slices.Collect(maps.Values(files)))
	blocks := map[string][]Block{}
	for name, file := range files {
		blocks[name] = append(comments(set, file), help(set, file, texts)...)
	}
	return blocks, nil
}

// comments is the prose of all comments of a file.
func comments(set *token.FileSet, file *ast.File) []Block {
	var blocks []Block
	for _, group := range file.Comments {
		var lines []string
		for _, comment := range group.List {
			lines = append(lines, commentLines(comment.Text)...)
		}
		blocks = append(blocks, plain(set.Position(group.Pos()).Line, strings.Join(lines, "\n"))...)
	}
	return blocks
}

func commentLines(text string) []string {
	if directive.MatchString(text) {
		return []string{""}
	}
	if body, ok := strings.CutPrefix(text, "/*"); ok {
		return strings.Split(strings.TrimPrefix(strings.TrimSuffix(body, "*/"), " "), "\n")
	}
	return []string{strings.TrimPrefix(strings.TrimPrefix(text, "//"), " ")}
}

// constants are the string constants of a package by name, because help texts share some.
func constants(files []*ast.File) map[string]string {
	texts := map[string]string{}
	for _, file := range files {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				if value, ok := spec.(*ast.ValueSpec); ok && len(value.Names) == len(value.Values) {
					for i, name := range value.Names {
						texts[name.Name] = literal(value.Values[i], texts)
					}
				}
			}
		}
	}
	return texts
}

// help is the Short and Long of every cobra command that a file makes: of each composite literal that has a Use.
func help(set *token.FileSet, file *ast.File, texts map[string]string) []Block {
	var blocks []Block
	ast.Inspect(file, func(node ast.Node) bool {
		command, ok := node.(*ast.CompositeLit)
		if !ok {
			return true
		}
		fields := map[string]ast.Expr{}
		for _, element := range command.Elts {
			if field, ok := element.(*ast.KeyValueExpr); ok {
				if name, ok := field.Key.(*ast.Ident); ok {
					fields[name.Name] = field.Value
				}
			}
		}
		for _, name := range []string{"Short", "Long"} {
			if text := fields[name]; text != nil && fields["Use"] != nil {
				blocks = append(blocks, plain(set.Position(text.Pos()).Line, literal(text, texts))...)
			}
		}
		return true
	})
	return blocks
}

// literal is the text of an expression made of string literals and constants. Anything else in it counts as one word.
func literal(expr ast.Expr, texts map[string]string) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		return literal(e.X, texts) + literal(e.Y, texts)
	case *ast.ParenExpr:
		return literal(e.X, texts)
	case *ast.Ident:
		if text, ok := texts[e.Name]; ok {
			return text
		}
	case *ast.CallExpr:
		if len(e.Args) > 0 { // fmt.Sprintf, strings.TrimSpace
			return literal(e.Args[0], texts)
		}
	}
	return "X"
}
